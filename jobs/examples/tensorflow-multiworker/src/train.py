"""Teach a small Keras model to tell two spirals apart, with MultiWorkerMirroredStrategy over any number of workers.

The points are made here, so there is nothing to download. Whatever starts this script says who each worker is, and
where the others listen, in TF_CONFIG; TensorFlow reads it by itself.
"""

import argparse
import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # set before the import: TensorFlow has much to say otherwise

import keras
import numpy as np
import tensorflow as tf


def main() -> None:
    """Train, report, save."""
    options = parse_arguments()
    # Without TF_CONFIG this is the only worker.
    index = int(json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {"index": 0})["index"])
    # Meets the other workers, and has to come before anything else is done with TensorFlow.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    worker_count = strategy.num_replicas_in_sync
    say(f"worker {index} of {worker_count}")

    keras.utils.set_random_seed(options.seed)
    with strategy.scope():  # variables that are made in here are the same on all workers, and stay so
        model = make_model()
        optimizer = keras.optimizers.Adam(options.lr)
        optimizer.build(model.trainable_variables)

    # Keras 3 can't do this with model.fit(): that knows the GPUs of one machine only. So the loop is written out.
    @tf.function
    def train_step(points: tf.Tensor, spirals: tf.Tensor) -> tf.Tensor:
        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(spirals, model(points), from_logits=True))
                # Gradients are added up over the workers: their mean comes out when each one's part is divided.
                scaled = loss / worker_count
            gradients = tape.gradient(scaled, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss

        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(step), axis=None)

    losses = []
    for epoch in range(1, options.epochs + 1):
        steps = [train_step(*batch) for batch in batches(epoch, index, worker_count, options.batch_size)]
        losses.append(float(np.mean(steps)))
        if index == 0:
            say(f"epoch {epoch}/{options.epochs}  loss {losses[-1]:.4f}")

    agreed = do_all_agree(strategy, model)
    if index == 0:  # the first worker is the chief: it does what has to be done once
        path = Path("outputs", "model.keras")
        path.parent.mkdir(exist_ok=True)
        model.save(path)
        say(f"saved {path}")
        say(f"check: {worker_count} workers {'hold the same weights' if agreed else 'DISAGREE'}, loss {losses[-1]:.4f}")
    if options.check and not (agreed and losses[-1] < losses[0] / 2):
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32, help="points a worker and step (default %(default)s)")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="at the end, fail unless the loss fell and all agree")
    return parser.parse_args()


def make_model() -> keras.Model:
    """Two hidden layers; the sign of what comes out tells the spiral."""
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1),
        ]
    )


def batches(epoch: int, index: int, worker_count: int, size: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Draw the points of an epoch, the same on all workers, and give this one's share in batches."""
    chance = np.random.default_rng(epoch)
    spirals = chance.integers(2, size=4096)
    radius = chance.uniform(0.1, 1, size=4096)
    angle = 4 * radius + np.pi * spirals
    points = (radius * np.stack([np.cos(angle), np.sin(angle)])).T + 0.02 * chance.normal(size=(4096, 2))
    mine = slice(index, None, worker_count)
    data = tf.data.Dataset.from_tensor_slices((points[mine].astype("float32"), spirals[mine, None].astype("float32")))
    # All workers have to take the same number of steps, for each one of them waits for all.
    return iter(data.batch(size, drop_remainder=True))


def do_all_agree(strategy: tf.distribute.Strategy, model: keras.Model) -> bool:
    """Say whether all workers ended with the same weights, to the bit."""
    checksum = zlib.crc32(b"".join(weights.tobytes() for weights in model.get_weights()))

    @tf.function
    def gather() -> tf.Tensor:
        return strategy.gather(strategy.run(lambda: tf.constant([checksum], tf.int64)), axis=0)

    return len(set(gather().numpy().tolist())) == 1


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
