"""Data sets: IDX files, download, digits drawn by the program itself."""
