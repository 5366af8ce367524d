"""What launch.py does: each module has run(config, workdir)."""
