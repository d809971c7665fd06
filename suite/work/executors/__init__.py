"""Who trains jobs: this process, processes beside it, or a Ray cluster."""
