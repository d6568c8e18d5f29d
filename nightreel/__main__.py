"""`python -m nightreel`: the command, where the script of that name is not on the path."""

from nightreel.cli import main

main()
