"""Measuring: folds over what happened. Import the modules; this package itself loads nothing."""
