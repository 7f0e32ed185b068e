"""A worker that does what the plan's name says, in a real run directory: lock, lease and log are real."""

import os
import signal
import subprocess
import sys
import time

from contrail_vsphere.servermanager.ansible_server.nursery import serve
from contrail_vsphere.servermanager.ansible_server.run_directory import RunDirectory
from contrail_vsphere.servermanager.states import RunState


def main(path, tell):
    run = RunDirectory(path)
    handle = run.hold()
    if handle is None:
        return 3
    run.touch_lease()
    tell()
    request, log = run.request(), run.appender(tell)
    how = request.plan
    for name, host in request.hosts.items():
        log.write(time.time(), state="running", host=name, task="Engine")
        for role in host.roles:
            if how == "succeed" or name != sorted(request.hosts)[0]:
                log.write(time.time(), state="ok", host=name, role=role.role, done=True, changed=True, what=["file f"])
    if how == "with-child":
        subprocess.Popen(["sleep", "300"])
        (run.path / "child").touch()
    if how == "with-fork" and os.fork() == 0:
        # As ansible-playbook does: nothing that it inherited stays open, and it is a session of its own.
        os.closerange(3, 100)
        run.mark()
        os.setsid()
        (run.path / "child").touch()
        time.sleep(300)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while how in ("wait", "deaf", "with-child", "with-fork") and not (
        how == "wait" and run.cancel_reason() is not None
    ):
        if (path.parent.parent / "go").exists():
            how = "succeed"
            for name, host in request.hosts.items():
                for role in host.roles:
                    log.write(time.time(), state="ok", host=name, role=role.role, done=True, what=[])
            break
        run.touch_lease()
        time.sleep(0.05)
    while how == "hang":
        time.sleep(1)
    reason = run.cancel_reason()
    state = RunState.SUCCEEDED if how == "succeed" else RunState.FAILED if reason is None else RunState.CANCELED
    log.write(time.time(), state="ended", run=state, message=reason or "")
    return 0


if __name__ == "__main__":
    sys.exit(serve(main))
