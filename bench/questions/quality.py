QUESTION=""; REPETITIONS=1
def add_arguments(p): pass
