"""The Python API of docs/python.md. Importing it takes seconds, so `import nightreel` puts it off."""
