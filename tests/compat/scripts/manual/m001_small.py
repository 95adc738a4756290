# Manual 001: the sessions of 1.2.2 and 1.3 that print something.
import tensorflow as tf
import moxing.tensorflow as mox

print(mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL, mox.ModeKeys.PREDICT, mox.ModeKeys.EXPORT)

model_meta = mox.get_model_meta('resnet_v1_50')
print(model_meta.default_image_size)
print(model_meta.default_labels_offset)
print(model_meta.default_logits_pattern)

with mox.var_scope(force_dtype=tf.float32):
  a = tf.get_variable('a', shape=[], dtype=tf.float16)

print(a)
print(tf.global_variables()[0])

exclude_list = ['global_step', model_meta.default_logits_pattern]
if mox.get_flag('checkpoint_exclude_patterns'):
  exclude_list.append(mox.get_flag('checkpoint_exclude_patterns'))
checkpoint_exclude_patterns = ','.join(exclude_list)
mox.set_flag('checkpoint_exclude_patterns', checkpoint_exclude_patterns)
print(mox.get_flag('checkpoint_exclude_patterns'))
mox.set_flag('num_gpus', 1)
print(len(mox.get_flag(flag_name='worker_hosts').split(',')))
print(mox.get_optimizer_fn('sgd', learning_rate=0.5)())
print(mox.NetworkKeys.RESNET_V1_50)
