# Manual 001, 1.2: main(), a check of the data, export.
from __future__ import absolute_import
from __future__ import division
from __future__ import print_function

from tensorflow.examples.tutorials.mnist import input_data
import tensorflow as tf
import moxing.tensorflow as mox
import os

tf.flags.DEFINE_string("data_url", None, "Folder of the data set")
tf.flags.DEFINE_string("train_url", None, "Folder of the output")

flags = tf.flags.FLAGS


def check_dataset():
    for filename in [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]:
        filepath = os.path.join(flags.data_url, filename)
        if not mox.file.exists(filepath):
            raise ValueError("%s not found in %s" % (filename, flags.data_url))


def main(*args, **kwargs):
    check_dataset()
    mnist = input_data.read_data_sets(flags.data_url, one_hot=True)

    def input_fn(run_mode, **kwargs):
        def gen():
            while True:
                yield mnist.train.next_batch(50)

        ds = tf.data.Dataset.from_generator(
            gen,
            output_types=(tf.float32, tf.int64),
            output_shapes=(tf.TensorShape([None, 784]), tf.TensorShape([None, 10])),
        )
        return ds.make_one_shot_iterator().get_next()

    def model_fn(inputs, run_mode, **kwargs):
        x, y_ = inputs
        W = tf.get_variable(name="W", initializer=tf.zeros([784, 10]))
        b = tf.get_variable(name="b", initializer=tf.zeros([10]))
        y = tf.matmul(x, W) + b
        cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y))
        correct_prediction = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
        accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))
        export_spec = mox.ExportSpec(inputs_dict={"images": x}, outputs_dict={"logits": y})
        return mox.ModelSpec(
            loss=cross_entropy,
            log_info={"loss": cross_entropy, "accuracy": accuracy},
            export_spec=export_spec,
        )

    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("sgd", learning_rate=0.01),
        run_mode=mox.ModeKeys.TRAIN,
        batch_size=50,
        auto_batch=False,
        log_dir=flags.train_url,
        max_number_of_steps=1000,
        log_every_n_steps=10,
        export_model=mox.ExportKeys.TF_SERVING,
    )


if __name__ == "__main__":
    tf.app.run(main=main)
