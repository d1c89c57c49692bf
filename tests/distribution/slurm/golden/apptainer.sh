#!/bin/bash
# Run digits-1 of Regiment. 'regiment plan' shows what this is without submitting it.
#
# The queue calls it as Regiment does.
#SBATCH --job-name=digits-1
#
# The job's resources.instance_count.
#SBATCH --nodes=4
#
# The one task of a node is its agent, which starts the processes.
#SBATCH --ntasks-per-node=1
#
# A processor for each of a node's 8 processes, as nothing else is said; cpus-per-task asks for more.
#SBATCH --cpus-per-task=8
#
# Nothing that lies there can be taken for a part of Regiment.
#SBATCH --chdir=/shared/me/.regiment/runs/digits-1/logs/azureml
#
# What srun and the agents say; the processes' logs are beside it.
#SBATCH --output=/shared/me/.regiment/runs/digits-1/logs/azureml/slurm.log
#
# A job that is queued again goes on in that file.
#SBATCH --open-mode=append
#
# After the loss of a node or a preemption the run goes on as its next attempt.
#SBATCH --requeue
#
# So many seconds before its time is up the processes get a notice, and 30 s of grace later.
#SBATCH --signal=USR1@120
#
# Of the compute target gpu:
#SBATCH --account=physics
#SBATCH --gpus-per-node=8
#SBATCH --partition=a100
#SBATCH --time=12:00:00

# One agent a node. Each may use all processors of its node's share and starts the processes itself, so Slurm neither
# binds them, nor ends the others when one ends: the coordinator, which is node 0's, decides that.
exec srun --cpu-bind=none --export=ALL --input=none --kill-on-bad-exit=0 --mpi=none --wait=0 apptainer exec --bind /shared/me/.regiment --bind '/shared/me/my code' --bind /data --bind /scratch:/tmp --nv --cleanenv '/images/a b.sif' /opt/python/bin/python -m regiment agent --run /shared/me/.regiment/runs/digits-1
