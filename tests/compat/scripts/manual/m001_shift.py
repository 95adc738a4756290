# Manual 001, 1.1.2.1: built-in functions on a bucket.
import os
import moxing as mox

mox.file.shift('os', 'mox')

os.makedirs('memory://bucket_name/folder')
with open('memory://bucket_name/hello_world.txt', 'w') as f:
  f.write('Hello World')
print(os.listdir('memory://bucket_name'))
with open('memory://bucket_name/hello_world.txt') as f:
  print(f.read())
