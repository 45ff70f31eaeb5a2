"""Frames from cameras, clips and images; results as lines, pictures and clips."""
