"""The Python launcher: loads the interpreter and boto3 once, then forks sandboxes that have both.

Started by the node (process.c) as
    python3 -I -B zygote.py CONTROL-FD LIBRARY-FD BOOTSTRAP-FD background|now FOLDER INSTANCE UID-BASE BEST WORST
The forking, isolation and protocol are in launcher.c, the function's side in bootstrap.py.
"""

import ctypes
import gc
import os
import sys
import threading
import types

BACKGROUND_PRIORITY = 10
FORK = ctypes.PYFUNCTYPE(ctypes.c_int)


def load_bootstrap(descriptor):
    """The module runs in every child; its name in tracebacks is where Lambda's own is."""
    path = '/var/runtime/bootstrap.py'
    module = types.ModuleType('bootstrap')
    module.__file__ = path
    with os.fdopen(descriptor, 'rb') as source:
        exec(compile(source.read(), path, 'exec'), module.__dict__)
    return module


def load_library(descriptor):
    library = ctypes.PyDLL('/proc/self/fd/%d' % descriptor)
    os.close(descriptor)
    library.launcher_open.restype = ctypes.c_void_p
    library.launcher_open.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p,
                                      ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32]
    library.launcher_serve.restype = None
    library.launcher_serve.argtypes = [ctypes.c_void_p, FORK]
    library.launcher_is_ordered.argtypes = [ctypes.c_void_p]
    library.launcher_await.restype = ctypes.c_void_p
    library.launcher_await.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
    return library


def in_background(work):
    """Do it in a thread of little priority: unlike the process, a thread needs no rights to be
    followed by one of full priority."""
    def run():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_PRIORITY)
        work()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def await_order(library, launcher):
    size = ctypes.c_size_t()
    address = library.launcher_await(launcher, ctypes.byref(size))
    block = ctypes.string_at(address, size.value)
    variables = (os.fsdecode(entry).partition('=') for entry in block.split(b'\0') if entry)
    return {name: value for name, _, value in variables}


def main():
    control, library, source = (int(argument) for argument in sys.argv[1:4])
    pace = sys.argv[4]
    folder, instance = (os.fsencode(argument) for argument in sys.argv[5:7])
    uid_base, best, worst = (int(argument) for argument in sys.argv[7:10])

    bootstrap = load_bootstrap(source)
    library = load_library(library)
    # Before boto3 is loaded: the process that stays behind to wait is then a small one.
    launcher = library.launcher_open(control, folder, instance, uid_base, best, worst)
    if not launcher:
        sys.exit(1)
    if pace == 'background':
        in_background(bootstrap.preload)
    else:
        bootstrap.preload()
    gc.collect()
    gc.freeze()  # the collector would write to every shared page
    library.launcher_serve(launcher, FORK(os.fork))

    # From here on: a sandbox.
    if not library.launcher_is_ordered(launcher):
        bootstrap.rehearse()
    bootstrap.run(await_order(library, launcher))


main()
