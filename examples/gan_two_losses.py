"""Trains two networks against each other: a small DCGAN that learns to draw digits.

    python examples/gan_two_losses.py --log_dir /tmp/gan

prints the losses of the discriminator and of the generator, and writes what the generator draws in
the end to `/tmp/gan/generated.png` (while it trains: `tensorboard --logdir /tmp/gan`, Images).

The model has a loss for each network, with the variable scope that it updates and an optimizer of
its own; both are updated in every step.
"""

from __future__ import annotations

import argparse
import os

import mox_tf as mox
import tensorflow.compat.v1 as tf

import mnist_data

BATCH_SIZE = 64
NOISE = 64


def variable(name, shape):
    return tf.get_variable(name, shape, initializer=tf.random_normal_initializer(stddev=0.05))


def generator(noise):
    """Draws images [batch, 28, 28, 1], values -1 to 1, from noise [batch, NOISE]."""
    with tf.variable_scope("generator", reuse=tf.AUTO_REUSE):
        batch = tf.shape(noise)[0]
        x = tf.nn.relu(tf.matmul(noise, variable("dense", [NOISE, 7 * 7 * 64])))
        x = tf.reshape(x, [-1, 7, 7, 64])
        x = tf.nn.relu(upsample(x, "deconv1", [batch, 14, 14, 32]))
        return tf.tanh(upsample(x, "deconv2", [batch, 28, 28, 1]))


def upsample(x, name, shape):
    filters = variable(name, [5, 5, shape[-1], x.shape[-1]])
    bias = tf.get_variable(f"{name}_bias", [shape[-1]], initializer=tf.zeros_initializer())
    x = tf.nn.conv2d_transpose(x, filters, shape, strides=2, padding="SAME")
    return tf.reshape(x + bias, shape)


def discriminator(images):
    """Returns logits [batch, 1]: how much the images look like real ones."""
    with tf.variable_scope("discriminator", reuse=tf.AUTO_REUSE):
        x = images
        for name, channels in (("conv1", 32), ("conv2", 64)):
            filters = variable(name, [5, 5, x.shape[-1], channels])
            x = tf.nn.leaky_relu(tf.nn.conv2d(x, filters, strides=2, padding="SAME"))
        return tf.matmul(tf.reshape(x, [-1, 7 * 7 * 64]), variable("dense", [7 * 7 * 64, 1]))


def contest(logits, is_real):
    """The loss of whoever wants `logits` to say that the images are real, or are not."""
    labels = tf.ones_like(logits) if is_real else tf.zeros_like(logits)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def grid_of(images):
    """Arranges the first 64 images in a uint8 image [224, 224, 1]."""
    grid = tf.reshape(images[:64], [8, 8, 28, 28])
    grid = tf.reshape(tf.transpose(grid, [0, 2, 1, 3]), [224, 224, 1])
    return tf.cast((grid + 1) * 127.5, tf.uint8)


def model_fn(inputs, mode):
    if mode == mox.ModeKeys.PREDICT:
        drawn = generator(inputs[0])
        return mox.ModelSpec(output_info={"png": tf.image.encode_png(grid_of(drawn))})
    real = tf.reshape(inputs[0], [-1, 28, 28, 1]) * 2 - 1
    drawn = generator(tf.random.normal([BATCH_SIZE, NOISE]))
    tf.summary.image("generated", grid_of(drawn)[tf.newaxis])
    logits_of_drawn = discriminator(drawn)
    d_loss = contest(discriminator(real), True) + contest(logits_of_drawn, False)
    g_loss = contest(logits_of_drawn, True)
    return mox.ModelSpec(
        loss=[d_loss, g_loss],
        var_scopes=[["discriminator"], ["generator"]],
        log_info={"d_loss": d_loss, "g_loss": g_loss},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--log_dir", default="/tmp/mox/gan", help="folder for the results")
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    train = mnist_data.read_data_sets(args.data_url).train

    def input_fn(mode):
        if mode == mox.ModeKeys.PREDICT:
            return tf.random.normal([64, NOISE])

        def batches():
            while True:
                yield train.next_batch(BATCH_SIZE)[0]

        return tf.data.Dataset.from_generator(batches, tf.float32, [BATCH_SIZE, 784])

    def adam():
        return tf.train.AdamOptimizer(0.0005, beta1=0.5)

    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=[adam, adam],
        run_mode=mox.ModeKeys.TRAIN,
        log_dir=args.log_dir,
        max_number_of_steps=args.steps,
    )

    picture = os.path.join(args.log_dir, "generated.png")

    def output_fn(outputs):
        with open(picture, "wb") as file:
            file.write(outputs[0]["png"])

    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        output_fn=output_fn,
        run_mode=mox.ModeKeys.PREDICT,
        checkpoint_path=args.log_dir,
        max_number_of_steps=1,
    )
    print(f"The generator's digits: {picture}")


if __name__ == "__main__":
    main()
