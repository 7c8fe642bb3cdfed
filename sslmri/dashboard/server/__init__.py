"""What runs next to the pages: lifespan, request filter, sign-in, queue."""
