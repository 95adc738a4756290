"""What mox is compared with: training loops written by hand over TensorFlow.

    python plain_loop.py softmax|lenet DATA_FOLDER STEPS BATCH_SIZE

prints the accuracy on the test images.
"""

import sys

import mnist_data
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
tf.enable_resource_variables()

model, data_url, steps, batch_size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
mnist = mnist_data.read_data_sets(data_url)
images = tf.placeholder(tf.float32, [None, 784])
labels = tf.placeholder(tf.int64, [None])

if model == "softmax":
    weights = tf.get_variable("W", initializer=tf.zeros([784, 10]))
    logits = test_logits = tf.matmul(images, weights) + tf.get_variable("b", initializer=[0.0] * 10)
    optimizer = tf.train.GradientDescentOptimizer(0.5)
else:
    from train_mnist_conv import lenet

    logits = lenet(images, is_training=True)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        test_logits = lenet(images, is_training=False)
    optimizer = tf.train.AdamOptimizer(0.001)

loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
train_op = optimizer.minimize(loss)

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(steps):
        batch = mnist.train.next_batch(batch_size)
        session.run(train_op, {images: batch[0], labels: batch[1]})
    predictions = [
        np.argmax(session.run(test_logits, {images: batch[0]}), axis=1)
        for batch in mnist.test.batches(500)
    ]
print("accuracy:", np.mean(np.concatenate(predictions) == mnist.test.labels))
