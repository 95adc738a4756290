# Manual 001, ModelSpec, example 3, made whole: a generator and a discriminator of small digits.
import tensorflow as tf
from tensorflow.examples.tutorials.mnist import input_data
import moxing.tensorflow as mox

tf.flags.DEFINE_string('data_url', None, 'Folder of the input data')
tf.flags.DEFINE_string('train_url', None, 'Folder of the output')
flags = tf.flags.FLAGS


def main(_):
  mnist = input_data.read_data_sets(flags.data_url)

  def input_fn(mode, **kwargs):
    def gen():
      while True:
        yield mnist.train.next_batch(32)[0]
    ds = tf.data.Dataset.from_generator(gen, tf.float32, tf.TensorShape([None, 784]))
    return ds.make_one_shot_iterator().get_next()

  def model_fn(inputs, mode, **kwargs):

    def generator(x, is_training, reuse):
      with tf.variable_scope('generator', reuse=reuse):
        x = tf.layers.dense(x, 64, activation=tf.nn.relu)
        return tf.layers.dense(x, 784, activation=tf.nn.sigmoid)

    def discriminator(x, is_training, reuse):
      with tf.variable_scope('discriminator', reuse=reuse):
        x = tf.layers.dense(x, 64, activation=tf.nn.leaky_relu, name='hidden')
        return tf.layers.dense(x, 1, name='score')

    real = inputs[0]
    fake = generator(tf.random_normal([32, 16]), True, False)
    real_score = discriminator(real, True, False)
    fake_score = discriminator(fake, True, True)
    cross = tf.nn.sigmoid_cross_entropy_with_logits
    D_loss = tf.reduce_mean(cross(labels=tf.ones_like(real_score), logits=real_score)
                            + cross(labels=tf.zeros_like(fake_score), logits=fake_score))
    G_loss = tf.reduce_mean(cross(labels=tf.ones_like(fake_score), logits=fake_score))
    return mox.ModelSpec(loss=[D_loss, G_loss],
                         var_scopes=[['discriminator'], ['generator']],
                         log_info={'D_loss': D_loss, 'G_loss': G_loss})

  def optimizer_fn():
    return tf.train.AdamOptimizer(0.001)

  mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=[optimizer_fn, optimizer_fn],
          run_mode=mox.ModeKeys.TRAIN, batch_size=32, auto_batch=False,
          log_dir=flags.train_url, max_number_of_steps=201)


if __name__ == '__main__':
  tf.app.run(main=main)
