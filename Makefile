VENV := .venv
PYTHON := $(VENV)/bin/python
MODEL ?= models/default

.PHONY: app test soak clean

app: $(VENV)/installed
	SSLMRI_MODEL=$(MODEL) $(VENV)/bin/streamlit run app.py

test: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: $(VENV)/installed-dev
	$(PYTHON) -m tests.soak --out docs/soak.md

$(VENV)/bin/uv:
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet uv

$(VENV)/installed: requirements.txt $(VENV)/bin/uv
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .cache
