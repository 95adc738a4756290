"""The ways in which public scripts call MoXing, one function each; run with the launcher.

Each prints OK and its name, or a traceback; the tests look for these lines.
"""
import logging
import os
import sys
import traceback
from multiprocessing import Process

os.environ.pop('http_proxy', None)
import numpy as np
import tensorflow as tf

tf.flags.DEFINE_string('data_url', None, 'Names near to those of mox, and its own, are defined here')
tf.flags.DEFINE_string('train_url', None, '')
tf.flags.DEFINE_integer('batch_size', 16, 'Mini-batch size')
tf.flags.DEFINE_string('log_dir', 'own', 'A name that mox leaves to scripts')
tf.flags.DEFINE_string('run_mode', 'TRAIN', '')
tf.flags.DEFINE_integer('save_model_secs', 60, '')
tf.flags.DEFINE_boolean('split_to_device', False, '')
tf.flags.DEFINE_integer('num_gpu', 8, 'Nearly num_gpus')
tf.flags.DEFINE_float('loss_scale', 2.0, "One of mox's own names")
flags = tf.flags.FLAGS
flags(sys.argv, known_only=True)

import moxing.tensorflow as mox
from moxing.framework import file
from moxing.framework.util import compat
from moxing.tensorflow.executor.hooks import FeedSessionRunHook
from moxing.tensorflow.optimizer import learning_rate_scheduler
from moxing.tensorflow.utils import tf_util
import moxing.tensorflow.executor.ops_adapter as ops_adapter
slim = tf.contrib.slim

STYLES = []


def style(function):
  STYLES.append(function)
  return function


def data(mode=None):
  rng = np.random.RandomState(0)
  points = rng.rand(64, 8).astype('float32')
  return points, (points.sum(1) > 4).astype('int64')


def batches(mode=None, **kwargs):
  ds = tf.data.Dataset.from_tensor_slices(data()).repeat().batch(16)
  return ds.make_one_shot_iterator().get_next()


def linear(x, scope='linear'):
  with tf.variable_scope(scope, reuse=tf.AUTO_REUSE):
    return tf.matmul(x, tf.get_variable('w', [8, 2])) + tf.get_variable('b', [2])


def loss_of(logits, labels):
  return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def classify(inputs, mode, **kwargs):
  images, labels = inputs
  loss = loss_of(linear(images), labels)
  return mox.ModelSpec(loss=loss, log_info={'loss': loss})


def sgd():
  return tf.train.GradientDescentOptimizer(0.5)


@style
def callbacks_with_kwargs():
  mox.run(input_fn=batches, model_fn=classify, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def callbacks_without_kwargs():
  def input_fn(mode):
    return batches()
  def model_fn(inputs, mode):
    return classify(inputs, mode)
  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def positional_arguments():
  mox.run(batches, None, classify, sgd, mox.ModeKeys.TRAIN, None, 16, False, None, 3)


@style
def a_dict_of_inputs():
  def input_fn(run_mode, **kwargs):
    image, label = batches()
    return {'image': image, 'label': label}
  def model_fn(inputs, run_mode, **kwargs):
    return classify((inputs['image'], inputs['label']), run_mode)
  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def one_input_is_a_list_too():
  def input_fn(mode, **kwargs):
    return batches()[0]
  def model_fn(inputs, mode, **kwargs):
    assert isinstance(inputs, list) and len(inputs) == 1
    loss = tf.reduce_mean(linear(inputs[0]) ** 2)
    return mox.ModelSpec(loss=loss, log_info={'loss': loss})
  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def single_samples_that_mox_batches():
  def input_fn(mode, **kwargs):
    ds = tf.data.Dataset.from_tensor_slices(data()).repeat()
    return ds.make_one_shot_iterator().get_next()
  def model_fn(inputs, mode, **kwargs):
    assert inputs[0].shape.as_list()[1:] == [8]
    return classify(inputs, mode)
  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=sgd, batch_size=16,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def hooks_of_tensorflow():
  seen = []
  class Hook(tf.train.SessionRunHook):
    def begin(self):
      seen.append('begin')
    def before_run(self, run_context):
      return tf.train.SessionRunArgs(tf.train.get_or_create_global_step())
    def after_run(self, run_context, run_values):
      seen.append(int(run_values.results))
    def end(self, session):
      seen.append('end')
  def model_fn(inputs, mode, **kwargs):
    spec = classify(inputs, mode)
    hooks = [Hook(), tf.train.StopAtStepHook(last_step=4),
             tf.train.LoggingTensorHook({'logged': spec.loss}, every_n_iter=2)]
    return mox.ModelSpec(loss=spec.loss, log_info=spec.log_info, hooks=hooks)
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=100)
  # One hook for each of the two towers. Whether a value that a hook asks for is read before or
  # after the update of the same step, TensorFlow leaves open.
  steps = seen[2:-2]
  assert seen[:2] == ['begin'] * 2 and seen[-2:] == ['end'] * 2, seen
  assert len(steps) == 8, seen
  assert all(n // 2 <= step <= n // 2 + 1 for n, step in enumerate(steps)), seen


@style
def a_list_of_optimizers():
  def model_fn(inputs, mode, **kwargs):
    images, labels = inputs
    one = loss_of(linear(images, 'one'), labels)
    two = loss_of(linear(images, 'two'), labels)
    return mox.ModelSpec(loss=[one, two], var_scopes=[['one'], ['two']],
                         log_info={'one': one, 'two': two})
  mox.run(input_fn=batches, model_fn=model_fn,
          optimizer_fn=[sgd, mox.get_optimizer_fn('adam', learning_rate=0.01)],
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def older_spellings_of_the_modes():
  def model_fn(inputs, mode, **kwargs):
    assert mode == 'TRAIN' and mode == 'train' and mode != 'evaluation'
    return classify(inputs, mode)
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd,
          run_mode='train', max_number_of_steps=3)


@style
def flags_of_its_own_beside_those_of_mox():
  assert flags.batch_size == 16 and flags.log_dir == 'own' and flags.num_gpu == 8
  assert mox.get_flag('num_gpus') == 2 and flags.num_gpus == 2
  assert flags.loss_scale == 2.0 and mox.get_flag('loss_scale') == 1.0
  num_workers = len(mox.get_flag('worker_hosts').split(','))
  assert num_workers == ops_adapter.size() == 1 and ops_adapter.rank() == 0
  mox.set_flag('checkpoint_exclude_patterns', 'global_step,logits')
  assert mox.get_flag(flag_name='checkpoint_exclude_patterns') == 'global_step,logits'
  mox.set_flag('checkpoint_exclude_patterns', '')
  mox.set_flag('variable_update', 'parameter_server')
  mox.set_flag('sync_replicas', False)
  assert mox.get_flag('job_name') == '' and mox.get_flag('task_index') == 0


@style
def handlers_of_the_root_logger_removed():
  logger = logging.getLogger()
  while logger.handlers:
    logger.handlers.pop()
  def model_fn(inputs, mode, **kwargs):
    loss = loss_of(linear(inputs[0]), inputs[1])
    return mox.ModelSpec(loss=loss, log_info={'bare_root': loss})
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=1)


@style
def files_under_every_name():
  import moxing
  assert file is mox.file is moxing.file
  mox.file.set_auth(obs_client_log=False)
  mox.file.file_io._LARGE_FILE_METHOD = 1
  if not mox.file.is_directory('cache/in'):
    mox.file.make_dirs('cache/in')
  file.write('cache/in/a.txt', 'a')
  assert mox.file.exists('cache/in/a.txt') is True and mox.file.exists('cache/b') is False


@style
def a_copy_in_a_process_of_its_own():
  mox.file.make_dirs('cache/out')
  mox.file.write('cache/out/a.txt', 'a')
  process = Process(target=mox.file.copy_parallel, args=('cache/out', 'cache/copied'))
  process.start()
  process.join()
  assert process.exitcode == 0 and os.listdir('cache/copied') == ['a.txt']


@style
def batch_norm_of_slim_with_a_weight_decay():
  def model_fn(inputs, mode, **kwargs):
    is_training = (mode == mox.ModeKeys.TRAIN)
    with slim.arg_scope([slim.fully_connected], normalizer_fn=slim.batch_norm,
                        normalizer_params={'is_training': is_training, 'decay': 0.5},
                        weights_regularizer=slim.l2_regularizer(0.01)):
      net = slim.fully_connected(inputs[0], 4)
    logits = slim.fully_connected(net, 2, activation_fn=None)
    one_hot = slim.one_hot_encoding(inputs[1], 2)
    loss = tf.losses.softmax_cross_entropy(logits=logits, onehot_labels=one_hot,
                                           label_smoothing=0.0, weights=1.0)
    regularization = tf.add_n(mox.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
    loss = loss + regularization
    moved = tf.reduce_sum(tf.global_variables('fully_connected/BatchNorm/moving_mean')[0])
    accuracy = tf.reduce_mean(tf.cast(tf.nn.in_top_k(logits, inputs[1], 1), tf.float32))
    return mox.ModelSpec(loss=loss, log_info={'loss': loss, 'accuracy': accuracy, 'moved': moved})
  def optimizer_fn():
    lr = learning_rate_scheduler.piecewise_lr('1:0.1->0.2,2:0.01', num_samples=64,
                                              global_batch_size=16)
    return mox.get_optimizer_fn('momentum', learning_rate=lr, momentum=0.9)()
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=optimizer_fn,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=12, log_dir='bn')
  reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint('bn'))
  assert abs(reader.get_tensor('fully_connected/BatchNorm/moving_mean')).sum() > 0.01


@style
def layers_of_keras():
  from tensorflow.python.keras.layers import Conv2D, MaxPooling2D, Dense, Dropout, Flatten
  from tensorflow.keras.layers import BatchNormalization, Activation
  def input_fn(mode, **kwargs):
    points, labels = batches()
    return tf.reshape(tf.tile(points, [1, 8]), [-1, 8, 8, 1]), labels
  def model_fn(inputs, mode, **kwargs):
    is_training = (mode == mox.ModeKeys.TRAIN)
    x = Conv2D(4, kernel_size=(3, 3), activation='relu', input_shape=(8, 8, 1))(inputs[0])
    x = MaxPooling2D(pool_size=(2, 2), strides=(2, 2))(x)
    x = BatchNormalization()(x, training=is_training)
    x = Activation('relu')(x)
    x = Dropout(0.2)(x, training=is_training)
    logits = Dense(2)(Flatten()(x))
    loss = loss_of(logits, inputs[1])
    return mox.ModelSpec(loss=loss, log_info={'loss': loss})
  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=mox.get_optimizer_fn(name='adam', learning_rate=0.01),
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3, log_dir='keras')
  mox.run(input_fn=lambda mode: input_fn(mode), model_fn=model_fn, run_mode=mox.ModeKeys.EVAL,
          max_number_of_steps=2, checkpoint_path='keras')


@style
def layers_of_tensorflow_and_recurrent_cells():
  if tf_util.version_info() > (1, 13, 0):
    from tensorflow.python.layers.layers import Dense
  else:
    from tensorflow.python.keras.layers import Dense
  def model_fn(inputs, mode, **kwargs):
    sequence = tf.reshape(inputs[0], [-1, 4, 2])
    cell = tf.nn.rnn_cell.BasicLSTMCell(6)
    outputs, _ = tf.nn.dynamic_rnn(cell, sequence, dtype=tf.float32)
    net = tf.layers.dropout(outputs[:, -1], 0.1, training=mode == mox.ModeKeys.TRAIN)
    loss = loss_of(Dense(2)(net), inputs[1])
    return mox.ModelSpec(loss=loss, log_info={'loss': loss})
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def placeholders_fed_by_a_hook():
  def input_fn(run_mode, **kwargs):
    return [tf.constant(0.0)]
  def model_fn(inputs, mode, **kwargs):
    del inputs
    images = tf.placeholder(dtype=tf.float32, shape=[16, 8])
    labels = tf.placeholder(dtype=tf.int64, shape=[16])
    points, classes = data()
    feed_hook = FeedSessionRunHook(feed_dict={images: points[:16], labels: classes[:16]})
    spec = classify([images, labels], mode)
    return mox.ModelSpec(loss=spec.loss, log_info=spec.log_info, hooks=[feed_hook])
  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=3)


@style
def predictions_as_texts():
  def input_fn(run_mode, **kwargs):
    ids = tf.data.Dataset.from_tensor_slices([b'abcdefgh', b'ijklmnop', b'qrstuvwx', b'yz012345'])
    text = ids.batch(2).make_one_shot_iterator().get_next()
    codes = tf.py_func(lambda one: np.array([[ord(c) for c in compat.as_str(t)] for t in one]), [text], tf.int64)
    return tf.reshape(codes, [-1, 8])
  def model_fn(inputs, run_mode, **kwargs):
    linear(tf.cast(inputs[0], tf.float32))
    return mox.ModelSpec(output_info={'id': inputs[0]})
  collected = []
  def output_fn(outputs):
    for output in outputs:
      collected.extend(''.join([chr(ch) for ch in one]) for one in output['id'])
  train = lambda inputs, mode: classify([tf.zeros([2, 8]), tf.zeros([2], tf.int64)], mode)
  mox.run(input_fn=input_fn, model_fn=train, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=1, log_dir='texts')
  mox.run(input_fn=input_fn, output_fn=output_fn, model_fn=model_fn,
          run_mode=mox.ModeKeys.PREDICT, max_number_of_steps=10,
          output_every_n_steps=1, checkpoint_path='texts')
  assert collected == ['abcdefgh', 'ijklmnop', 'qrstuvwx', 'yz012345'], collected


@style
def a_warm_start_without_the_last_layer():
  mox.run(input_fn=batches, model_fn=classify, optimizer_fn=sgd, run_mode=mox.ModeKeys.TRAIN,
          max_number_of_steps=2, log_dir='warm')
  mox.set_flag('checkpoint_exclude_patterns', 'global_step,linear/b')
  def model_fn(inputs, mode, **kwargs):
    spec = classify(inputs, mode)
    with tf.variable_scope('linear', reuse=True):
      bias = tf.reduce_sum(tf.abs(tf.get_variable('b', [2])))
    return mox.ModelSpec(loss=spec.loss, log_info={'bias': bias})
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd, run_mode=mox.ModeKeys.TRAIN,
          max_number_of_steps=1, checkpoint_path='warm', log_dir='warmer')
  mox.set_flag('checkpoint_exclude_patterns', '')
  assert os.path.exists('warmer/model.ckpt-1.index')


@style
def an_export_to_serve():
  def model_fn(inputs, mode, **kwargs):
    spec = classify(inputs, mode)
    export_spec = mox.ExportSpec(inputs_dict={'images': inputs[0]},
                                 outputs_dict={'logits': linear(inputs[0])}, version='model')
    return mox.ModelSpec(loss=spec.loss, log_info=spec.log_info, export_spec=export_spec)
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd, run_mode=mox.ModeKeys.TRAIN,
          max_number_of_steps=2, log_dir='served', export_model=mox.ExportKeys.TF_SERVING)
  with tf.Session(graph=tf.Graph()) as sess:
    loaded = tf.saved_model.loader.load(sess, ['serve'], 'served/model')
    assert list(loaded.signature_def) == ['predict_object'], loaded.signature_def
  try:
    mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd, run_mode=mox.ModeKeys.TRAIN,
            max_number_of_steps=2, log_dir='served', export_model=mox.ExportKeys.TF_SERVING)
  except AssertionError as e:
    assert str(e).startswith('Export directory already exists.'), e
  else:
    raise RuntimeError('the target was there already')


@style
def summaries_in_the_model():
  def model_fn(inputs, mode, **kwargs):
    spec = classify(inputs, mode)
    tf.summary.scalar('the_loss', spec.loss)
    tf.summary.histogram('points', inputs[0])
    return spec
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd, run_mode=mox.ModeKeys.TRAIN,
          max_number_of_steps=3, log_dir='summaries', save_summary_steps=1)
  events = [name for name in os.listdir('summaries') if 'tfevents' in name]
  tags = {value.tag for name in events for event in tf.train.summary_iterator('summaries/' + name)
          for value in event.summary.value}
  assert 'the_loss' in tags and 'points' in tags, tags


@style
def maxint_steps_until_the_data_end():
  def input_fn(mode, **kwargs):
    return tf.data.Dataset.from_tensor_slices(data()).batch(16).make_one_shot_iterator().get_next()
  result = mox.run(input_fn=input_fn, model_fn=classify, optimizer_fn=sgd,
                   run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=sys.maxint)


@style
def wrapped_optimizers():
  def optimizer_fn():
    base_opt = mox.get_optimizer_fn('momentum', learning_rate=0.1, momentum=0.9)()
    lars_opt = mox.get_optimizer_wrapper_fn('lars', base_opt, ratio=0.001, weight_decay=0.0001)()
    return mox.get_optimizer_wrapper_fn('batch_gradients', lars_opt, num_batches=2, sync_on_apply=True)()
  mox.run(input_fn=batches, model_fn=classify, optimizer_fn=optimizer_fn,
          run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=4)


@style
def evaluation_and_early_stopping_with_layers_of_keras():
  def model_fn(inputs, mode, **kwargs):
    images, labels = inputs
    logits = tf.keras.layers.Dense(2)(tf.keras.layers.Dense(4)(images))
    loss = loss_of(logits, labels)
    hooks = [mox.LogEvaluationMetricHook(
               monitor_info={'loss': loss}, batch_size=16, samples_in_train=64, samples_in_eval=32,
               evaluate_every_n_epochs=1, prefix='[VALIDATION METRICS]'),
             mox.EarlyStoppingHook(
               monitor_info={'constant': tf.constant(1.0)}, monitor='constant', batch_size=16,
               samples_in_train=64, samples_in_eval=16, evaluate_every_n_epochs=1,
               min_delta=0.01, patience=2, prefix='[EarlyStopping]')]
    return mox.ModelSpec(loss=loss, log_info={'loss': loss}, hooks=hooks)
  mox.run(input_fn=batches, model_fn=model_fn, optimizer_fn=sgd,
          run_mode=mox.ModeKeys.TRAIN, inter_mode=mox.ModeKeys.EVAL, max_number_of_steps=100)


def main(*args, **kwargs):
  for function in STYLES:
    try:
      function()
      print('OK', function.__name__, flush=True)
    except Exception:
      print('FAILED', function.__name__)
      traceback.print_exc(file=sys.stdout)


if __name__ == '__main__':
  tf.app.run(main=main)
