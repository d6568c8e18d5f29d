"""nightreel in Python, as docs/python.md has it. Importing this takes seconds: `import nightreel` waits."""
