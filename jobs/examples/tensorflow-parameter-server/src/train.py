"""Train a small model that is kept on parameter servers, with ParameterServerStrategy.

Every process runs this script. Workers and parameter servers only offer their services; the chief builds the model,
gives the workers steps to do and waits for them. Whatever starts the script says who each process is, and where the
others listen, in TF_CONFIG. The data is made here, so there is nothing to download.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # set before the import: TensorFlow has much to say otherwise

import numpy as np
import tensorflow as tf

WEIGHTS = [[2.0], [-1.0], [0.5], [3.0]]
"""What the model is to find out."""


def main() -> None:
    """Serve, or train."""
    options = parse_arguments()
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if cluster.task_type in ("worker", "ps"):
        say(f"{cluster.task_type} {cluster.task_id}: at your service")
        # Never returns. Whatever started this process ends it when the chief is done.
        tf.distribute.Server(
            cluster.cluster_spec(), cluster.task_type, cluster.task_id, protocol=cluster.rpc_layer or "grpc"
        ).join()
    sys.exit(train(cluster, options))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50, help="steps an epoch, of all workers together")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (default %(default)s)")
    parser.add_argument("--check", action="store_true", help="at the end, fail unless the weights have been found")
    return parser.parse_args()


def train(cluster: tf.distribute.cluster_resolver.ClusterResolver, options: argparse.Namespace) -> int:
    """Do the chief's part; gives the exit code."""
    servers, workers = (cluster.cluster_spec().num_tasks(kind) for kind in ("ps", "worker"))
    say(f"chief; workers: {workers}, parameter servers: {servers}")
    strategy = tf.distribute.ParameterServerStrategy(cluster)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)

    # Keras 3 has no part in this strategy, so the model is made of plain variables. They live on the parameter servers.
    with strategy.scope():
        weights = tf.Variable(tf.zeros((len(WEIGHTS), 1)))
        bias = tf.Variable(tf.zeros(1))

    @tf.function
    def step(data: tf.data.Iterator) -> tf.Tensor:
        def replica_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((x @ weights + bias - y) ** 2)
            for variable, gradient in zip((weights, bias), tape.gradient(loss, (weights, bias)), strict=True):
                variable.assign_sub(options.lr * gradient)
            return loss

        return strategy.run(replica_step, args=next(data))

    # Each worker makes data of its own.
    data = iter(coordinator.create_per_worker_dataset(lambda: strategy.distribute_datasets_from_function(make_data)))
    for epoch in range(1, options.epochs + 1):
        # schedule() returns at once: the step is done by whichever worker is free, and again if that one is lost.
        losses = [coordinator.schedule(step, args=(data,)) for _ in range(options.steps)]
        coordinator.join()
        say(f"epoch {epoch}/{options.epochs}  loss {sum(loss.fetch() for loss in losses) / len(losses):.4f}")

    # A tf.train.Checkpoint would be written by the parameter servers themselves, to a folder that all nodes share. This
    # model is small enough to be fetched.
    path = Path("outputs", "model.npz")
    path.parent.mkdir(exist_ok=True)
    np.savez(path, weights=weights.numpy(), bias=bias.numpy())
    say(f"saved {path}")
    off = np.abs(weights.numpy() - WEIGHTS).max()
    say(f"check: the weights are off by {off:.4f}")
    return int(options.check and off > 0.05)


def make_data(context: tf.distribute.InputContext) -> tf.data.Dataset:
    """Make points in four dimensions without end, and what the model should say to each."""

    def label(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return x, x @ tf.constant(WEIGHTS) + 0.1 * tf.random.normal((64, 1))

    return tf.data.Dataset.from_tensors(0).repeat().map(lambda _: tf.random.normal((64, len(WEIGHTS)))).map(label)


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
