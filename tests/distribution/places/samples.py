"""What nodes of real systems have in their environment, shortened to what concerns a node's place.

Each was written down from the system's own documentation or code, or from a container that it had started.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

HOSTS_OF_A_POD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
10.244.1.5\t{name}.{subdomain}.default.svc.cluster.local\t{name}
"""
HOSTS_WITHOUT_SUBDOMAIN = "127.0.0.1\tlocalhost\n10.244.1.5\ttrain-1\n"

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        +-- 10.0.0.0/28 2 0 2
           |-- 10.0.0.0
              /24 link UNICAST
           |-- 10.0.0.{last}
              /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 169.254.172.0/22 2 0 2
           |-- 169.254.172.2
              /32 host LOCAL
"""
ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
ecs-eth0\t00ACFEA9\t00000000\t0001\t0\t0\t0\t00FCFFFF\t0\t0\t0
"""
"""A main route and its network 10.0.0.0/24 on eth0, and a link of the container agent's."""

SAGEMAKER = """\
{
"current_host": "algo-2",
"hosts": ["algo-1","algo-2","algo-3"],
"network_interface_name":"eth1"
}
"""
SAGEMAKER_GROUPS = json.dumps(
    {
        "current_host": "algo-10",
        "current_instance_type": "ml.p4d.24xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": [f"algo-{n}" for n in (1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)],
        "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": "ml.p4d.24xlarge"}],
        "network_interface_name": "eth0",
    }
)
CLUSTER_SPEC = (
    '{"cluster":{"workerpool0":["cmle-training-workerpool0-b644f12a34-0:2222"],"workerpool1":'
    '["cmle-training-workerpool1-b644f12a34-0:2222","cmle-training-workerpool1-b644f12a34-1:2222"]},'
    '"environment":"cloud","task":{"type":"workerpool1","index":1},'
    '"job":"{\\"python_module\\":\\"\\",\\"package_uris\\":[],\\"job_args\\":[]}","open_ports":[3333]}'
)
TF_CONFIG = (
    '{"cluster":{"chief":["mnist-chief-0.kubeflow.svc:2222"],"ps":["mnist-ps-0.kubeflow.svc:2222"],'
    '"worker":["mnist-worker-0.kubeflow.svc:2222","mnist-worker-1.kubeflow.svc:2222"]},'
    '"task":{"type":"worker","index":1},"environment":"cloud"}'
)
HOSTFILE = "pi-worker-0.pi.default.svc slots=1\npi-worker-1.pi.default.svc slots=1\n"
HOSTFILE_INTEL = "pi-worker-0.pi-worker.default.svc:1\npi-worker-1.pi-worker.default.svc:1\n"


@dataclass(frozen=True)
class Sample:
    """A node of one system, and the place that follows."""

    environ: dict[str, str]
    nodes: int | None
    rank: int | None
    host: str | None
    port: int | None = None
    """None where the system names none."""
    files: dict[str, str] = field(default_factory=dict)
    job: str | None = None


_STEP = """\
SLURM_STEP_NUM_TASKS=2 SLURM_TASKS_PER_NODE=1(x2) SLURM_LOCALID=0 SLURMD_NODENAME=n4 SLURM_STEP_NODELIST=n[2,4]
SLURM_JOB_NUM_NODES=4 SLURM_STEPID=0 SLURM_JOBID=2 SLURM_LAUNCH_NODE_IPADDR=127.0.0.1 SLURM_PROCID=1 SLURM_NTASKS=2
SLURM_NODELIST=n[1-4] SLURM_STEP_ID=0 SLURM_NPROCS=2 SLURM_NNODES=2 SLURM_SUBMIT_HOST=vm SLURM_JOB_ID=2 SLURM_NODEID=1
SLURM_STEP_NUM_NODES=2 SLURM_STEP_TASKS_PER_NODE=1(x2) SLURM_NTASKS_PER_NODE=1 SLURM_JOB_NODELIST=n[1-4]
"""
"""A task of Slurm 22.05, of a step on two of its job's four nodes."""
_SCRIPT = """\
SLURM_TASKS_PER_NODE=1(x4) SLURM_LOCALID=0 SLURMD_NODENAME=n1 SLURM_JOB_NUM_NODES=4 SLURM_JOBID=2 SLURM_PROCID=0
SLURM_NODELIST=n[1-4] SLURM_NNODES=4 SLURM_SUBMIT_HOST=vm SLURM_JOB_ID=2 SLURM_NODEID=0 SLURM_JOB_NODELIST=n[1-4]
"""
"""The script of that job."""

_SHELL = """\
SLURMD_NODENAME=GPU71E4 SLURM_CPUS_ON_NODE=8 SLURM_JOBID=1731344 SLURM_JOB_ID=1731344 SLURM_JOB_NODELIST=GPU71E4
SLURM_JOB_NUM_NODES=1 SLURM_LAUNCH_NODE_IPADDR=172.18.140.10 SLURM_LOCALID=0 SLURM_NNODES=1 SLURM_NODEID=0
SLURM_NODELIST=GPU71E4 SLURM_PROCID=0 SLURM_STEPID=4294967290 SLURM_STEP_ID=4294967290 SLURM_STEP_NODELIST=GPU71E4
SLURM_STEP_NUM_NODES=1 SLURM_STEP_NUM_TASKS=1 SLURM_STEP_TASKS_PER_NODE=1 SLURM_TASKS_PER_NODE=8
"""
"""The shell that salloc gives on the job's node where Slurm is set up so, as somebody's test report has it."""


def variables(text: str) -> dict[str, str]:
    """Read what `env` printed."""
    return dict(word.split("=", 1) for word in text.split())


SLURM_STEP = variables(_STEP)
SLURM_SCRIPT = variables(_SCRIPT)
SLURM_SHELL = variables(_SHELL)

SAMPLES = {
    # https://slurm.schedmd.com/srun.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES
    "slurm task": Sample(SLURM_STEP, 2, 1, "n2", job="2.0"),
    "slurm script of a job with one node": Sample(
        SLURM_SCRIPT | {"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "gpu-007"}, 1, 0, "gpu-007", job="2"
    ),
    # https://slurm.schedmd.com/slurm.conf.html#OPT_use_interactive_step
    "slurm shell of a job with one node": Sample(SLURM_SHELL, 1, 0, "GPU71E4", job="1731344"),
    # https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/
    "kubernetes indexed job": Sample(
        {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "train-1", "KUBERNETES_SERVICE_HOST": "10.96.0.1"},
        None,
        1,
        "train-0.train-svc.default.svc.cluster.local",
        files={"/etc/hosts": HOSTS_OF_A_POD.format(name="train-1", subdomain="train-svc")},
        job="train",
    ),
    "kubernetes indexed job without a service": Sample(
        {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "train-1"},
        None,
        1,
        None,
        files={"/etc/hosts": HOSTS_WITHOUT_SUBDOMAIN},
        job="train",
    ),
    "kubernetes indexed job on the host's network": Sample(
        {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "gpu-node-17"}, None, 1, None
    ),
    # https://jobset.sigs.k8s.io/docs/concepts/ (a Pod is called JOBSET-REPLICATEDJOB-JOB-POD, its subdomain the JobSet)
    "jobset with one job": Sample(
        {"JOB_COMPLETION_INDEX": "2", "HOSTNAME": "pytorch-workers-0-2"},
        None,
        2,
        "pytorch-workers-0-0.pytorch.default.svc.cluster.local",
        files={"/etc/hosts": HOSTS_OF_A_POD.format(name="pytorch-workers-0-2", subdomain="pytorch")},
        job="pytorch-workers-0",
    ),
    # https://github.com/AI-Hypercomputer/xpk/blob/main/src/xpk/core/docker_container.py
    "jobset with several jobs": Sample(
        {
            "JOBSET_NAME": "slices",
            "REPLICATED_JOB_NAME": "slice-job",
            "JOB_INDEX": "2",
            "JOB_COMPLETION_INDEX": "3",
            "PROCESSES_IN_JOB": "4",
            "HOSTNAME": "slices-slice-job-2-3",
        },
        None,
        11,
        "slices-slice-job-0-0.slices",
        job="slices",
    ),
    # https://github.com/kubeflow/training-operator/blob/release-1.9/pkg/controller.v1/pytorch/envvar.go
    "kubeflow pytorchjob": Sample(
        {
            "PYTHONUNBUFFERED": "1",
            "MASTER_PORT": "23456",
            "PET_MASTER_PORT": "23456",
            "MASTER_ADDR": "pytorch-simple-master-0",
            "PET_MASTER_ADDR": "pytorch-simple-master-0",
            "WORLD_SIZE": "3",
            "RANK": "2",
            "PET_NODE_RANK": "2",
            "PET_NNODES": "3",
            "HOSTNAME": "pytorch-simple-worker-1",
        },
        3,
        2,
        "pytorch-simple-master-0",
        23456,
    ),
    # https://github.com/kubeflow/training-operator/blob/release-1.9/pkg/controller.v1/pytorch/elastic.go
    "kubeflow elastic pytorchjob": Sample(
        {
            "PET_RDZV_BACKEND": "c10d",
            "PET_RDZV_ENDPOINT": "elastic-worker-0:23456",
            "PET_NNODES": "1:3",
            "PET_MAX_RESTARTS": "100",
            "HOSTNAME": "elastic-worker-1",
        },
        None,
        None,
        "elastic-worker-0",
        23456,
    ),
    # https://github.com/kubeflow/trainer/blob/master/pkg/runtime/framework/plugins/torch/torch.go
    "kubeflow trainer": Sample(
        {
            "PET_NNODES": "4",
            "PET_NPROC_PER_NODE": "auto",
            "PET_NODE_RANK": "1",
            "PET_MASTER_ADDR": "ddp-node-0-0.ddp",
            "PET_MASTER_PORT": "29400",
            "JOB_COMPLETION_INDEX": "1",
            "HOSTNAME": "ddp-node-0-1",
        },
        4,
        1,
        "ddp-node-0-0.ddp",
        29400,
        files={"/etc/hosts": HOSTS_OF_A_POD.format(name="ddp-node-0-1", subdomain="ddp")},
        job="ddp-node-0",
    ),
    # https://www.kubeflow.org/docs/components/trainer/legacy-v1/user-guides/tensorflow/
    "kubeflow tfjob": Sample({"TF_CONFIG": TF_CONFIG}, 4, 2, "mnist-chief-0.kubeflow.svc", 2222),
    # https://github.com/kubeflow/mpi-operator/blob/master/pkg/controller/mpi_job_controller.go
    "mpijob worker with the hostfile": Sample(
        {"K_MPI_JOB_ROLE": "worker", "HOSTNAME": "pi-worker-1"},
        2,
        1,
        "pi-worker-0.pi.default.svc",
        files={"/etc/mpi/hostfile": HOSTFILE},
        job="pi-worker-0.pi.default.svc",
    ),
    "mpijob of intel's mpi": Sample(
        {"K_MPI_JOB_ROLE": "worker", "I_MPI_HYDRA_HOST_FILE": "/etc/mpi/hostfile", "HOSTNAME": "pi-worker-0"},
        2,
        0,
        "pi-worker-0.pi-worker.default.svc",
        files={"/etc/mpi/hostfile": HOSTFILE_INTEL},
        job="pi-worker-0.pi-worker.default.svc",
    ),
    "mpijob worker": Sample(
        {"K_MPI_JOB_ROLE": "worker", "HOSTNAME": "pi-worker-1"},
        None,
        1,
        "pi-worker-0.pi.default.svc.cluster.local",
        files={"/etc/hosts": HOSTS_OF_A_POD.format(name="pi-worker-1", subdomain="pi")},
    ),
    # https://docs.aws.amazon.com/batch/latest/userguide/mnp-env-vars.html
    "aws batch child": Sample(
        {
            "AWS_BATCH_JOB_ID": "8b2a1d7c-0f8e-4d4e-9a53-3c1f6f3a8f11#2",
            "AWS_BATCH_JOB_NUM_NODES": "4",
            "AWS_BATCH_JOB_NODE_INDEX": "2",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
            "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.0.17",
        },
        4,
        2,
        "10.0.0.17",
        job="8b2a1d7c-0f8e-4d4e-9a53-3c1f6f3a8f11",
    ),
    "aws batch main": Sample(
        {
            "AWS_BATCH_JOB_ID": "8b2a1d7c-0f8e-4d4e-9a53-3c1f6f3a8f11#0",
            "AWS_BATCH_JOB_NUM_NODES": "4",
            "AWS_BATCH_JOB_NODE_INDEX": "0",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
        },
        4,
        0,
        "10.0.0.17",
        files={"/proc/net/fib_trie": FIB_TRIE.format(last=17), "/proc/net/route": ROUTE},
        job="8b2a1d7c-0f8e-4d4e-9a53-3c1f6f3a8f11",
    ),
    "aws batch with another main node": Sample(
        {
            "AWS_BATCH_JOB_ID": "j#1",
            "AWS_BATCH_JOB_NUM_NODES": "4",
            "AWS_BATCH_JOB_NODE_INDEX": "1",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "2",
            "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.0.17",
        },
        4,
        2,
        "10.0.0.17",
        job="j",
    ),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    "sagemaker": Sample(
        {"TRAINING_JOB_NAME": "ddp-2026-11-29-04-00-00-000"},
        3,
        1,
        "algo-1",
        files={"/opt/ml/input/config/resourceconfig.json": SAGEMAKER},
        job="ddp-2026-11-29-04-00-00-000",
    ),
    "sagemaker with eleven hosts": Sample(
        {}, 11, 9, "algo-1", files={"/opt/ml/input/config/resourceconfig.json": SAGEMAKER_GROUPS}
    ),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
    "sagemaker processing": Sample({}, 3, 1, "algo-1", files={"/opt/ml/config/resourceconfig.json": SAGEMAKER}),
    # https://docs.cloud.google.com/vertex-ai/docs/training/distributed-training
    "vertex": Sample(
        {"CLUSTER_SPEC": CLUSTER_SPEC, "CLOUD_ML_JOB_ID": "3847562910"},
        3,
        2,
        "cmle-training-workerpool0-b644f12a34-0",
        2222,
        job="3847562910",
    ),
    # https://learn.microsoft.com/en-us/azure/batch/batch-compute-node-environment-variables
    "azure batch primary": Sample(
        {
            "AZ_BATCH_JOB_ID": "mpi",
            "AZ_BATCH_TASK_ID": "task-1",
            "AZ_BATCH_NODE_ID": "tvm-1219235766_3-20160919t172711z",
            "AZ_BATCH_NODE_LIST": "10.0.0.4;10.0.0.5",
            "AZ_BATCH_HOST_LIST": "10.0.0.4,10.0.0.5",
            "AZ_BATCH_MASTER_NODE": "10.0.0.5:6000",
            "AZ_BATCH_IS_CURRENT_NODE_MASTER": "true",
        },
        2,
        0,
        "10.0.0.5",
        6000,
        job="mpi/task-1",
    ),
    "azure batch subtask": Sample(
        {
            "AZ_BATCH_JOB_ID": "mpi",
            "AZ_BATCH_TASK_ID": "task-1",
            "AZ_BATCH_NODE_LIST": "10.0.0.4;10.0.0.5;10.0.0.6",
            "AZ_BATCH_HOST_LIST": "10.0.0.4,10.0.0.5,10.0.0.6",
            "AZ_BATCH_MASTER_NODE": "10.0.0.5:6000",
            "AZ_BATCH_IS_CURRENT_NODE_MASTER": "false",
        },
        3,
        1,
        "10.0.0.5",
        6000,
        files={"/proc/net/fib_trie": FIB_TRIE.format(last=4), "/proc/net/route": ROUTE},
        job="mpi/task-1",
    ),
    # https://learn.microsoft.com/en-us/azure/machine-learning/how-to-train-distributed-gpu
    "azure ml": Sample(
        {
            "AZUREML_RUN_ID": "brave_apple_1",
            "AZUREML_NODE_COUNT": "2",
            "AZUREML_CR_NODE_RANK": "1",
            "NODE_RANK": "1",
            "AZ_BATCHAI_JOB_MASTER_NODE_IP": "10.0.0.4",
            "AZ_BATCH_NODE_LIST": "node-0;node-1",
            "AZ_BATCH_MASTER_NODE": "10.0.0.4:6000",
            "AZ_BATCH_IS_CURRENT_NODE_MASTER": "false",
        },
        2,
        1,
        "10.0.0.4",
        6000,
        job="brave_apple_1",
    ),
    "azure ml with mpi": Sample(
        {
            "AZUREML_RUN_ID": "brave_apple_2",
            "AZUREML_NODE_COUNT": "1",
            "OMPI_COMM_WORLD_SIZE": "1",
            "OMPI_COMM_WORLD_RANK": "0",
            "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            "AZ_BATCHAI_MPI_MASTER_NODE": "10.0.0.4",
        },
        1,
        0,
        "10.0.0.4",
        job="brave_apple_2",
    ),
    # https://github.com/ray-project/ray/blob/master/python/ray/train/torch/config.py
    "ray train": Sample(
        {
            "RAY_JOB_ID": "02000000",
            "RAY_RAYLET_PID": "211",
            "LOCAL_RANK": "0",
            "RANK": "1",
            "LOCAL_WORLD_SIZE": "1",
            "WORLD_SIZE": "2",
            "NODE_RANK": "1",
            "MASTER_ADDR": "10.0.0.4",
            "MASTER_PORT": "51733",
        },
        2,
        1,
        "10.0.0.4",
        job="02000000",
    ),
    "kuberay": Sample(
        {"RAY_ADDRESS": "head-svc.default.svc.cluster.local:6379", "FQ_RAY_IP": "head-svc.default.svc.cluster.local"},
        None,
        None,
        None,
    ),
}
