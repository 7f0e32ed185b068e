"""An Ansible server that does as the test says; its reports are those of the real documents."""

from contrail_vsphere.model.errors import NotFound, Unreachable
from contrail_vsphere.servermanager.runs import HostReport, RunReport
from contrail_vsphere.servermanager.states import RunState


class AnsibleDouble:
    def __init__(self):
        self.requests = {}
        self.reports = {}
        self.away = False

    async def run(self, request):
        if self.away:
            raise Unreachable("the Ansible server does not answer")
        self.requests[request.id] = request
        self.reports.setdefault(request.id, RunReport(id=request.id, state=RunState.RUNNING))
        return self.reports[request.id]

    async def report(self, run_id, *, after=-1, wait=0.0):
        if self.away:
            raise Unreachable("the Ansible server does not answer")
        if run_id not in self.reports:
            raise NotFound(f"no run {run_id}")
        return self.reports[run_id]

    async def cancel(self, run_id):
        self.reports[run_id] = RunReport(id=run_id, state=RunState.CANCELED, reason="asked for")
        return self.reports[run_id]

    def end(self, run_id, state, hosts):
        roles = {name: [role.role for role in host.roles] for name, host in self.requests[run_id].hosts.items()}
        told = {}
        for name, host_state in hosts.items():
            done = dict.fromkeys(roles[name], "completed" if host_state == "completed" else "failed")
            told[name] = HostReport(state=host_state, roles=done, message="why" if host_state != "completed" else "")
        self.reports[run_id] = RunReport(id=run_id, state=state, hosts=told)
