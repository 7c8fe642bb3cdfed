"""What runs beside the pages: lifespan, request filter, sign-in, queue."""
