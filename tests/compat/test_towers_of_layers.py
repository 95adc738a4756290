"""Layers of Keras and of tf.layers in model_fn: towers share their variables and regularizers."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")
pytest.importorskip("tf_slim")

KINDS = ("slim", "slim twice", "half", "layers", "get_variable", "keras")
CASES = [(update, kind) for update in ("parameter_server", "replicated") for kind in KINDS]
CASES += [("distributed_replicated", kind) for kind in ("slim", "keras")]

SCRIPT = """
    import sys
    import traceback
    import numpy as np
    import tensorflow as tf
    import moxing.tensorflow as mox

    slim = tf.contrib.slim


    def input_fn(mode):
        # All batches are the same, so that towers and one device do the same.
        x = np.random.RandomState(1).rand(4, 3).astype('float32')
        return tf.data.Dataset.from_tensors(x).repeat().make_one_shot_iterator().get_next()


    def output_of(x, kind):
        ones, l2 = tf.ones_initializer(), slim.l2_regularizer(0.1)
        if kind == 'slim':
            return slim.fully_connected(x, 2, weights_initializer=ones, weights_regularizer=l2,
                                        activation_fn=None)
        if kind == 'slim twice':  # the variable is made once, and has one loss
            return sum(slim.fully_connected(x, 2, weights_initializer=ones, weights_regularizer=l2,
                                            activation_fn=None, scope='both', reuse=tf.AUTO_REUSE)
                       for _ in range(2))
        if kind == 'half':
            with mox.var_scope(force_dtype=tf.float32):
                y = slim.fully_connected(tf.cast(x, tf.float16), 2, weights_initializer=ones,
                                         weights_regularizer=l2, activation_fn=None)
            return tf.cast(y, tf.float32)
        if kind == 'layers':
            return tf.layers.dense(x, 2, kernel_initializer=ones, kernel_regularizer=l2)
        if kind == 'get_variable':
            return tf.matmul(x, tf.get_variable('w', [3, 2], initializer=ones, regularizer=l2))
        for size in (2, 2):
            x = tf.keras.layers.Dense(size, kernel_initializer='ones')(x)
        return x


    variables_of = {'get_variable': 1, 'keras': 4}


    def compare(update, kind):
        def model_fn(inputs, mode):
            loss = tf.reduce_mean(output_of(inputs[0], kind) ** 2)
            losses = mox.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
            assert len(losses) == (kind != 'keras')
            loss = tf.add_n([loss] + [tf.cast(one, tf.float32) for one in losses])
            trained = [v.op.name for v in tf.trainable_variables()]
            assert len(trained) == len(set(trained)) == variables_of.get(kind, 2), trained
            return mox.ModelSpec(loss=loss, log_info={'loss': loss})

        mox.set_flag('variable_update', update)
        saved = []
        for gpus in (1, 2):
            mox.set_flag('num_gpus', gpus)
            folder = '%s-%s-%d' % (update, kind, gpus)
            mox.run(input_fn=input_fn, model_fn=model_fn,
                    optimizer_fn=lambda: tf.train.GradientDescentOptimizer(0.1),
                    run_mode='TRAIN', max_number_of_steps=3, log_dir=folder)
            reader = tf.train.load_checkpoint(folder)
            names = reader.get_variable_to_shape_map()
            saved.append({name: reader.get_tensor(name) for name in names})
        one, two = saved
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-5)
        print('EQUAL', update, kind)


    for case in sys.argv[1:]:
        try:
            compare(*case.split(':'))
        except Exception:
            traceback.print_exc()
"""


@pytest.fixture(scope="module")
def printed(same_user):
    return same_user.launch(same_user.write(SCRIPT), *(":".join(case) for case in CASES))


@pytest.mark.parametrize(("update", "kind"), CASES)
def test_two_towers_learn_what_one_learns(printed, update, kind):
    assert f"EQUAL {update} {kind}\n" in printed, printed
