"""Scripts that use moxing without TensorFlow: files only, and PyTorch. They need no launcher."""

from __future__ import annotations

import pytest

FILES = """
    import argparse
    import logging
    import os
    import sys
    from multiprocessing import Process, Pool

    # Environments differ: scripts ask which one this is.
    try:
        import moxing as mox
        mox.file.set_auth(obs_client_log=False, is_secure=False)
        from moxing.framework.file import file_io
        file_io._LARGE_FILE_METHOD = 1
    except ImportError:
        mox = None
    assert mox is not None
    os.environ['MOX_SILENT_MODE'] = '1'
    from moxing.framework.util import runtime
    runtime.reset_logger(logging.WARNING)
    assert not logging.getLogger().handlers

    parser = argparse.ArgumentParser()
    parser.add_argument('--data_url', type=str, default=None)
    parser.add_argument('--train_url', type=str, default=None)
    parser.add_argument('--num_gpus', type=int, default=8)
    args, unparsed = parser.parse_known_args()
    print(args.num_gpus, unparsed)


    def download(rank):
        # One process per device copies for itself.
        mox.file.copy_parallel(args.data_url, 'cache/data%d' % rank)
        return sorted(os.listdir('cache/data%d' % rank))


    def main():
        mox.file.make_dirs(args.data_url)
        for name in ('a.txt', 'b.txt'):
            mox.file.write(os.path.join(args.data_url, name), name)
        mox.file.write(os.path.join(args.data_url, 'sub/c.txt'), 'c')
        with Pool(2) as pool:
            print(pool.map(download, range(2)))
        target = args.train_url + '/x'
        process = Process(target=mox.file.copy_parallel, args=('cache/data0', target))
        process.start()
        process.join()
        print(process.exitcode, sorted(mox.file.list_directory(args.train_url, recursive=True)))
        # A single file, with a folder as its target; and in one thread.
        mox.file.copy_parallel(args.data_url + '/a.txt', 'cache/')
        mox.file.copy_parallel(src_url=args.data_url, dst_url='cache/one', threads=0,
                               file_list=['b.txt'])
        print(sorted(os.listdir('cache')), os.listdir('cache/one'))
        if not mox.file.exists('cache/none'):
            mox.file.make_dirs('cache/none')
        mox.file.copy_parallel('cache/none', 'cache/empty')
        mox.file.shift('os', 'mox')
        print(os.listdir('memory://bucket') if os.path.exists('memory://bucket/x') else 'nothing')
        with open('memory://bucket/x/y.txt', 'w') as f:
            f.write('text')
        walked = [files for _, _, files in os.walk('memory://bucket')]
        print(walked, open('memory://bucket/x/y.txt').read())
        mox.file.shift('os', 'mox')
        with open('local.txt', 'w', encoding='utf-8') as f:
            print('local', file=f)
        print(os.path.getsize('local.txt'), os.path.isdir('cache'))


    if __name__ == '__main__':
        main()
    """


def test_a_script_that_only_copies_files(user):
    script = user.write(FILES)
    output = user.python(script, "--data_url=in", "--train_url=out", "--num_gpus=2", "--other=3")
    lines = [line for line in output.splitlines() if not line.startswith("INFO")]
    assert lines == [
        "2 ['--other=3']",
        "[['a.txt', 'b.txt', 'sub'], ['a.txt', 'b.txt', 'sub']]",
        "0 ['x', 'x/a.txt', 'x/b.txt', 'x/sub', 'x/sub/c.txt']",
        "['a.txt', 'data0', 'data1', 'one'] ['b.txt']",
        "nothing",
        "[[], ['y.txt']] text",
        "6 True",
    ]


TORCH = """
    import argparse
    import gzip
    import os
    import time
    import numpy as np
    import torch
    import torch.nn as nn
    import torch.optim as optim
    from torch.optim import lr_scheduler
    import moxing.pytorch as mox
    from moxing.pytorch.executor.enumerate import *
    from moxing.pytorch.tools.AverageMeter import *

    parser = argparse.ArgumentParser()
    parser.add_argument('--data_url', type=str, default=None)
    parser.add_argument('--train_url', type=str, default=None)
    parser.add_argument('--rank', type=int, default=0)
    parser.add_argument('--world_size', type=int, default=1)
    parser.add_argument('--mp', type=bool, default=False)
    args, unparsed = parser.parse_known_args()
    torch.manual_seed(0)


    def read(name, offset, *shape):
        with gzip.open(os.path.join('cache', name)) as f:
            return np.frombuffer(f.read(), np.uint8, offset=offset).reshape(-1, *shape)


    def loss_fn(model, inputs):
        x, y = inputs
        outputs = model(x)
        return nn.CrossEntropyLoss()(outputs, y)


    def main():
        mox.dist.init_process_group(mp=args.mp, gpu=None)
        if mox.get_flag('rank') == 0:
            mox.file.copy_parallel(args.data_url, 'cache')
        images = read('train-images-idx3-ubyte.gz', 16, 784).astype('float32') / 255
        labels = read('train-labels-idx1-ubyte.gz', 8).astype('int64')
        dataset = torch.utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))
        train_set = mox.dist.AutoDataLoader(dataset, pin_memory=False, num_workers=0,
                                            batch_size=100, shuffle=True)
        model = mox.dist.AutoModule(nn.Linear(784, 10))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

        mox.run(input_data=train_set,
                model=model,
                run_mode=ModeKeys.TRAIN,
                log_dir=args.train_url,
                optimizer=optimizer,
                scheduler=scheduler,
                loss_fn=loss_fn,
                epoches=2,
                num_gpus=1,
                print_freq=20)

        # The other style: a loop of its own.
        losses, batch_time = AverageMeter(), AverageMeter()
        train_set.set_epoch(2)
        end = time.time()
        for data, target in train_set:
            loss = loss_fn(model, (data, target))
            losses.update(loss.item(), data.size(0))
            batch_time.update(time.time() - end)
            end = time.time()
        print('LOSS {loss.avg:.4f} of {loss.count} samples'.format(loss=losses))
        mox.file.copy_parallel(args.train_url, 'kept')


    if __name__ == '__main__':
        main()
    """


def test_a_script_for_pytorch(user, mnist_folder):
    pytest.importorskip("torch")
    script = user.write(TORCH)
    output = user.python(script, f"--data_url={mnist_folder}", "--train_url=out", "--unknown=1")
    assert "step: 140(global step: 140)\tsample/sec: " in output
    loss = float(output.partition("LOSS ")[2].split()[0])
    assert loss < 0.4
    assert "of 8000 samples" in output
    assert any(one.name.startswith("model.ckpt-160") for one in (user.folder / "kept").iterdir())
