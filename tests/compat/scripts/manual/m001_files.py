# Manual 001, 1.1.2.3 and 1.1.2.4: what can be done with files, on a bucket that lives in memory.
import logging
import os
import cv2
import numpy as np
import pandas as pd
import moxing as mox

B = 'memory://dls-test'

with mox.file.File(B + '/a.txt', 'w') as f:
  f.write("test")
with mox.file.File(B + '/a.txt', 'r') as f:
  print(f.read())

df = pd.DataFrame({'col1': [1, 2], 'col2': [3, 4]})
with mox.file.File(B + '/b.txt', 'w') as f:
  df.to_csv(f)
with mox.file.File(B + '/b.txt', 'r') as f:
  print(list(pd.read_csv(f)['col2']))

try:
  mox.file.stat(B + '/not_exists')
except mox.file.MoxFileNotExistsException as e:
  print('no such file')

mox.file.append(B + '/dir/data0.bin', b'xxx', binary=True)
mox.file.append(B + '/dir/data1.bin', b'y', binary=True)
mox.file.append_remote(B + '/dir/data0.bin', B + '/dir/data1.bin')
print(mox.file.read(B + '/dir/data1.bin', binary=True))
mox.file.copy(B + '/a.txt', 'local/file.txt')
mox.file.copy('local/file.txt', B + '/obs_file.txt')
mox.file.write(B + '/obs_file.txt', 'Hello World!')
mox.file.append(B + '/obs_file.txt', '\nend of file.')
print(mox.file.list_directory(B))
print(mox.file.list_directory(B, recursive=True))
mox.file.make_dirs(B + '/sub_dir_0/sub_dir_1')
print(mox.file.exists(B + '/sub_dir_0/sub_dir_1'), mox.file.is_directory(B + '/sub_dir_0'))
print(mox.file.get_size(B + '/obs_file.txt'))
stat = mox.file.stat(B + '/obs_file.txt')
print(stat.length, stat.mtime_nsec > 0, stat.is_directory)
mox.file.rename(B + '/obs_file.txt', B + '/obs_file_2.txt')
mox.file.rename(B + '/obs_file_2.txt', 'obs_file.txt')
mox.file.rename('obs_file.txt', B + '/obs_file.txt')
mox.file.copy_parallel(B + '/dir', B + '/sub_dir_1')
mox.file.copy_parallel(B + '/sub_dir_1', 'sub_dir_1')
mox.file.copy_parallel('sub_dir_1', B + '/sub_dir_2')
print(sorted(os.listdir('sub_dir_1')), mox.file.list_directory(B + '/sub_dir_2'))
print(mox.file.glob(B + '/*.txt'))
print([d.name for d in mox.file.scan_dir(B + '/dir')])
print([len(files) for _, _, files in mox.file.walk(B + '/dir')])
mox.file.remove(B + '/obs_file.txt', recursive=False)
mox.file.remove(B + '/sub_dir_0/sub_dir_1', recursive=True)
print(mox.file.exists(B + '/obs_file.txt'))

stream = mox.file.File(B + '/sub_dir_0/logging.txt', 'w')
logging.basicConfig(level=logging.DEBUG, stream=stream, force=True)
console = logging.StreamHandler()
console.setLevel(logging.INFO)
logging.getLogger('').addHandler(console)
logging.info('hello world')
stream.flush()
print(mox.file.read(B + '/sub_dir_0/logging.txt').strip())
logging.getLogger('').handlers.clear()
stream.close()

mox.file.write(B + '/x.png', cv2.imencode('.png', np.full((4, 5, 3), 7, np.uint8))[1].tobytes(), binary=True)
img = cv2.imdecode(np.frombuffer(mox.file.read(B + '/x.png', binary=True), np.uint8), cv2.IMREAD_COLOR)
print(img.shape)
