"""Python programs of a test, run on a cluster: what they `answer` comes back, whatever the cluster itself prints."""

import json
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
        [cluster.python, "program.py"], cwd=workspace.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def answer_of(driver, workspace, seconds=120):
    """What the program gave to `answer`, once it has ended well."""
    output = driver.communicate(timeout=seconds)[0].decode()
    assert driver.returncode == 0, output
    return json.loads((workspace.path / "answer.json").read_text())


def run_program(cluster, workspace, text):
    return answer_of(start_program(cluster, workspace, text), workspace)
