# Manual 003: Keras's own interface, then an exported model. It is smaller than the manual's, reads
# the digits from files where the manual downloads them, and puts a comment where the manual has a
# text between two arguments.
from keras.models import Sequential

model = Sequential()
from keras.layers import Dense
import tensorflow as tf

from tensorflow.examples.tutorials.mnist import input_data
import os

mnist = input_data.read_data_sets(os.environ["MNIST"], reshape=False, validation_size=0)
x_train, y_train = mnist.train.images[..., 0], mnist.train.labels
x_test, y_test = mnist.test.images[..., 0], mnist.test.labels

print(x_train.shape)

from keras.layers import Dense
from keras.models import Sequential
import keras
from keras.layers import Dense, Activation, Flatten, Dropout

model = Sequential()
model.add(Flatten(input_shape=(28, 28)))
model.add(Dense(units=128, activation="relu"))
model.add(Dropout(0.2))

model.add(Dense(units=10, activation="softmax"))

model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

model.summary()
model.fit(x_train, y_train, epochs=2, verbose=2)
print("ACCURACY", model.evaluate(x_test, y_test, verbose=0)[1])

from keras import backend as K

predict_signature = tf.saved_model.signature_def_utils.predict_signature_def(
    inputs={"images": model.input}, outputs={"scores": model.output}
)

builder = tf.saved_model.builder.SavedModelBuilder("./mnist_keras/")

builder.add_meta_graph_and_variables(
    sess=K.get_session(),
    tags=[tf.saved_model.tag_constants.SERVING],
    # one item, or the default key
    signature_def_map={
        tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY: predict_signature
    },
)
builder.save()
