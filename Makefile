VENV := .venv
PYTHON := $(VENV)/bin/python
UV := $(VENV)/bin/uv
MODEL ?= models/default
# CPU=1 takes torch from its index of CPU wheels: about 1 GB in place of 6
CPU ?=
INSTALL := $(UV) pip install --quiet --python $(PYTHON) $(if $(CPU),--torch-backend cpu)
CUDA_ONLY := ^(nvidia-|cuda-|triton)
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate pyproject.toml
EXTRAS := --extra signin --extra dicom --extra register --extra saliency

.PHONY: app test soak lock licences model-card clean

app: $(VENV)/installed
	SSLMRI_MODEL=$(MODEL) $(VENV)/bin/streamlit run app.py

test: $(VENV)/installed-dev
	@$(PYTHON) -c "import torch; print('instruction sets:', torch.backends.cpu.get_cpu_capability())"
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: $(VENV)/installed-dev
	$(PYTHON) -m tests.soak --out docs/soak.md

# The full locks, from the ranges in pyproject.toml: what is pinned already stays pinned where the ranges allow it.
lock: $(UV)
	$(COMPILE) $(EXTRAS) --output-file requirements.txt
	$(COMPILE) --extra dev --constraints requirements.txt --output-file requirements-dev.txt

licences: $(VENV)/installed-dev
	@printf '%s\n\n' '# Licences of what the program needs' \
	  'Made by `make licences` from what `requirements.txt` installs on Linux. Wheels named `nvidia-*` come with torch there.' \
	  'Weak copyleft: fpdf2, connected-components-3d, fastremap and fill-voids, psycopg and psycopg-binary are under the LGPL, certifi and parts of tqdm are under the MPL. None of them is part of this program.' \
	  > LICENCES.md
	$(VENV)/bin/pip-licenses --python $(PYTHON) --format=markdown --with-urls --with-system \
	  --packages $$(sed -En 's/^([A-Za-z0-9._-]+)==.*/\1/p' requirements.txt) >> LICENCES.md

model-card: $(VENV)/installed
	$(PYTHON) -m sslmri model-card $(MODEL) > MODEL_CARD.md

$(UV):
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet uv

$(VENV)/installed: requirements.txt $(UV)
	$(if $(CPU),grep -vE '$(CUDA_ONLY)' $< > $@.txt,cp $< $@.txt)
	$(INSTALL) -r $@.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(if $(CPU),grep -vE '$(CUDA_ONLY)' $< > $@.txt,cp $< $@.txt)
	$(INSTALL) -r $@.txt
	touch $@

clean:
	rm -rf $(VENV) .cache
