# Manual 001, ModelSpec, example 2: a placeholder that a hook feeds.
import tensorflow as tf
import moxing.tensorflow as mox


def input_fn(run_mode, **kwargs):
  return [tf.constant(0.0)]


def model_fn(inputs, run_mode, **kwargs):
  del inputs
  x = tf.placeholder(dtype=tf.float32, shape=())
  w = tf.get_variable('w', initializer=4.0)

  class FeedRunHook(mox.AggregativeSessionRunHook):
    def before_run(self, run_context):
      feed_x = 1.0
      return tf.train.SessionRunArgs(fetches=None, feed_dict={x: feed_x})

    def support_aggregation(self):
      return False

    def support_sync_workers(self):
      return False

    def run_inter_mode(self):
      return False

  return mox.ModelSpec(loss=tf.square(w - x), log_info={'x': x, 'w': w}, hooks=[FeedRunHook()])


def optimizer_fn():
  return tf.train.GradientDescentOptimizer(0.5)


mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=optimizer_fn,
        run_mode=mox.ModeKeys.TRAIN, max_number_of_steps=21)
