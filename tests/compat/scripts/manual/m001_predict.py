# Manual 001, ModelSpec, example 4: predictions of a network into a table; sizes are flags here.
import pandas as pd
import numpy as np
import tensorflow as tf
import moxing.tensorflow as mox

slim = tf.contrib.slim
tf.flags.DEFINE_string('data_url', None, '')
tf.flags.DEFINE_string('checkpoint_url', None, '')
flags = tf.flags.FLAGS


def input_fn(mode, **kwargs):
  meta = mox.ImageClassificationRawMetadata(base_dir=flags.data_url)
  dataset = mox.ImageClassificationRawDataset(meta)
  image = dataset.get(['image'])[0]
  image.set_shape([None, None, 3])
  image = tf.expand_dims(image, 0)
  image = tf.image.resize_images(image, size=[32, 32])
  image = tf.squeeze(image, 0)
  return image


def model_fn(inputs, run_mode, **kwargs):
  images = inputs[0]

  logits, endpoints = mox.get_model_fn(
    name='cifarnet',
    run_mode=run_mode,
    num_classes=2,
    weight_decay=0.0001)(images)
  prediction = tf.argmax(logits, axis=1)

  return mox.ModelSpec(output_info={'prediction': prediction})


def output_fn(outputs):
  df = pd.DataFrame(np.array(outputs))
  with mox.file.File('outputs.txt', 'w') as f:
    df.to_csv(f)


mox.run(input_fn=input_fn,
        model_fn=model_fn,
        output_fn=output_fn,
        output_every_n_steps=3,
        batch_size=4,
        run_mode=mox.ModeKeys.PREDICT,
        max_number_of_steps=3,
        checkpoint_path=flags.checkpoint_url)
