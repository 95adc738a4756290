"""Runs the snippets in the files named on the command line and prints what mox says of their end."""
import os
import sys
import tensorflow as tf
from mox_core.cli.explain import explain
from mox_core.errors import MoxError

for path in sys.argv[1:]:
  with open(path) as file:
    source = file.read()
  try:
    exec(compile(source, os.path.abspath(path), 'exec'), {'__name__': 'snippet', '__file__': path, 'tf': tf})
  except Exception as error:
    text = str(error) if isinstance(error, MoxError) else explain(error) or repr(error)
    print('%s => %s' % (path, text.replace('\n  ', ' | ')))
  else:
    print('%s => fine' % path)
