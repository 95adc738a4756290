# Manual 003: TensorFlow's own interface with a reader of its own, then an exported model.
from __future__ import print_function

import gzip
import os
import urllib

import numpy
import tensorflow as tf
from six.moves import urllib

SOURCE_URL = "http://yann.lecun.com/exdb/mnist/"
VALIDATION_SIZE = 5000


def maybe_download(filename, work_directory):
    if not os.path.exists(work_directory):
        os.mkdir(work_directory)
    filepath = os.path.join(work_directory, filename)
    if not os.path.exists(filepath):
        filepath, _ = urllib.request.urlretrieve(SOURCE_URL + filename, filepath)
    return filepath


def _read32(bytestream):
    dt = numpy.dtype(numpy.uint32).newbyteorder(">")
    return numpy.frombuffer(bytestream.read(4), dtype=dt)[0]


def extract_images(filename):
    with gzip.open(filename) as bytestream:
        magic = _read32(bytestream)
        if magic != 2051:
            raise ValueError("Invalid magic number %d in %s" % (magic, filename))
        num_images = _read32(bytestream)
        rows = _read32(bytestream)
        cols = _read32(bytestream)
        data = numpy.frombuffer(bytestream.read(rows * cols * num_images), dtype=numpy.uint8)
        return data.reshape(num_images, rows, cols, 1)


def extract_labels(filename):
    with gzip.open(filename) as bytestream:
        magic = _read32(bytestream)
        if magic != 2049:
            raise ValueError("Invalid magic number %d in %s" % (magic, filename))
        num_items = _read32(bytestream)
        labels = numpy.frombuffer(bytestream.read(num_items), dtype=numpy.uint8)
        one_hot = numpy.zeros((num_items, 10))
        one_hot.flat[numpy.arange(num_items) * 10 + labels.ravel()] = 1
        return one_hot


class DataSet(object):
    def __init__(self, images, labels):
        self._num_examples = images.shape[0]
        assert images.shape[3] == 1
        images = images.reshape(images.shape[0], images.shape[1] * images.shape[2])
        self.images = numpy.multiply(images.astype(numpy.float32), 1.0 / 255.0)
        self.labels = labels
        self._index_in_epoch = 0

    def next_batch(self, batch_size):
        start = self._index_in_epoch
        self._index_in_epoch += batch_size
        if self._index_in_epoch > self._num_examples:
            perm = numpy.arange(self._num_examples)
            numpy.random.shuffle(perm)
            self.images = self.images[perm]
            self.labels = self.labels[perm]
            start = 0
            self._index_in_epoch = batch_size
        end = self._index_in_epoch
        return self.images[start:end], self.labels[start:end]


training_iteration = 1000

export_path = "./modelarts-mnist-train-save-deploy-example" + "/model/"
data_path = "./"

train_images = extract_images(maybe_download("train-images-idx3-ubyte.gz", data_path))
train_labels = extract_labels(maybe_download("train-labels-idx1-ubyte.gz", data_path))
train = DataSet(train_images[VALIDATION_SIZE:], train_labels[VALIDATION_SIZE:])
test = DataSet(
    extract_images(maybe_download("t10k-images-idx3-ubyte.gz", data_path)),
    extract_labels(maybe_download("t10k-labels-idx1-ubyte.gz", data_path)),
)

sess = tf.InteractiveSession()
serialized_tf_example = tf.placeholder(tf.string, name="tf_example")
feature_configs = {
    "x": tf.FixedLenFeature(shape=[784], dtype=tf.float32),
}
tf_example = tf.parse_example(serialized_tf_example, feature_configs)
x = tf.identity(tf_example["x"], name="x")
y_ = tf.placeholder("float", shape=[None, 10])
w = tf.Variable(tf.zeros([784, 10]))
b = tf.Variable(tf.zeros([10]))
sess.run(tf.global_variables_initializer())
y = tf.nn.softmax(tf.matmul(x, w) + b, name="y")
cross_entropy = -tf.reduce_sum(y_ * tf.log(y))
train_step = tf.train.GradientDescentOptimizer(0.01).minimize(cross_entropy)
values, indices = tf.nn.top_k(y, 10)
table = tf.contrib.lookup.index_to_string_table_from_tensor(
    tf.constant([str(i) for i in range(10)])
)
prediction_classes = table.lookup(tf.to_int64(indices))
for _ in range(training_iteration):
    batch = train.next_batch(50)
    train_step.run(feed_dict={x: batch[0], y_: batch[1]})
correct_prediction = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
accuracy = tf.reduce_mean(tf.cast(correct_prediction, "float"))
print("ACCURACY %g" % sess.run(accuracy, feed_dict={x: test.images, y_: test.labels}))

builder = tf.saved_model.builder.SavedModelBuilder(export_path)

tensor_info_x = tf.saved_model.utils.build_tensor_info(x)
tensor_info_y = tf.saved_model.utils.build_tensor_info(y)

prediction_signature = tf.saved_model.signature_def_utils.build_signature_def(
    inputs={"images": tensor_info_x},
    outputs={"scores": tensor_info_y},
    method_name=tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
)

legacy_init_op = tf.group(tf.tables_initializer(), name="legacy_init_op")
builder.add_meta_graph_and_variables(
    sess,
    [tf.saved_model.tag_constants.SERVING],
    signature_def_map={
        "predict_images": prediction_signature,
    },
    legacy_init_op=legacy_init_op,
)

builder.save()
print("Done exporting!")
