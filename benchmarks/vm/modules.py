# How much heap each module keeps after import, in the order in which the firmware comes to need them.

import gc


def allocated():
    gc.collect()
    return gc.mem_alloc()


def main(names):
    for name in names:
        before = allocated()
        __import__(name)
        print(name, allocated() - before)
