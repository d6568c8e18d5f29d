"""From raw files to trained models, one module a step; each reads files and writes files."""
