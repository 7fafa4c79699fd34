"""Whatever decides a cell's bytes, and nothing else: an edit in this folder makes every cell run again."""
