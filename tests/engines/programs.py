"""Python programs of a test, run on a cluster: what they `answer` comes back, whatever the cluster itself prints."""

import json
import signal
import subprocess

ANSWER = """
def answer(value):
    import json
    with open("answer.json", "w") as file:
        json.dump(value, file)

"""


def start_program(cluster, workspace, text):
    """Runs the text on the cluster's head, in the workspace."""
    workspace.write("program.py", ANSWER + text)
    return cluster.start(
        [cluster.python, "-X", "faulthandler", "program.py"],
        cwd=workspace.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def answer_of(cluster, driver, workspace, seconds=120):
    """What the program gave to `answer`, once it has ended well. One that takes too long says where it stands."""
    try:
        output = driver.communicate(timeout=seconds)[0].decode()
    except subprocess.TimeoutExpired:
        cluster.head.signal(driver, signal.SIGABRT)  # all stacks
        output = driver.communicate(timeout=30)[0].decode()
        raise AssertionError(f"not within {seconds} s\n{output}") from None
    assert driver.returncode == 0, output
    return json.loads((workspace.path / "answer.json").read_text())


def run_program(cluster, workspace, text, seconds=120):
    return answer_of(cluster, start_program(cluster, workspace, text), workspace, seconds)
