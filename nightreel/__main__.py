"""`python -m nightreel`: the command, where the script of that name is not on the path."""

from nightreel.cli import main

# Processes that are started from this one import this module too.
if __name__ == "__main__":
    main()
