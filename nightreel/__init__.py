"""The shell around nightreel's steps: the command line, settings, names, errors and logs."""

__version__ = "0.1.0"
