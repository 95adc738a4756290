# The left side of manual 000: TensorFlow 1 without MoXing.
from __future__ import absolute_import
from __future__ import division
from __future__ import print_function

from tensorflow.examples.tutorials.mnist import input_data
import tensorflow as tf

tf.flags.DEFINE_string("data_url", None, "Folder of the input data")
tf.flags.DEFINE_string("train_url", None, "Folder of the output")
tf.flags.DEFINE_integer("steps", 1000, "Steps")

flags = tf.flags.FLAGS


def main(*args, **kwargs):
    mnist = input_data.read_data_sets(flags.data_url, one_hot=True)
    x = tf.placeholder(tf.float32, [None, 784])
    y_ = tf.placeholder(tf.float32, [None, 10])
    W = tf.get_variable(name="W", initializer=tf.zeros([784, 10]))
    b = tf.get_variable(name="b", initializer=tf.zeros([10]))
    y = tf.matmul(x, W) + b
    cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y))
    correct_prediction = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
    accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))
    train_step = tf.train.GradientDescentOptimizer(0.5).minimize(cross_entropy)
    sess = tf.InteractiveSession()
    tf.global_variables_initializer().run()
    for _ in range(flags.steps):
        batch_xs, batch_ys = mnist.train.next_batch(50)
        sess.run(train_step, feed_dict={x: batch_xs, y_: batch_ys})
    print("ACCURACY", sess.run(accuracy, feed_dict={x: mnist.test.images, y_: mnist.test.labels}))


if __name__ == "__main__":
    tf.app.run(main=main)
