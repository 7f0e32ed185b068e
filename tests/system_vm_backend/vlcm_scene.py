"""The scene of rollouts on a vCenter 9 whose clusters are managed by images, with the manager's REST account."""

from __future__ import annotations

from rollout_scene import RolloutScene
from stand import KEY

from contrail_vsphere.app.system_vms import system_vm_client
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.system_vm.solution import SystemVmSolution
from contrail_vsphere.vsphere.endpoint import PasswordLogin
from contrail_vsphere.vsphere.system_vm.rest import RestSession


class VlcmScene(RolloutScene):
    """``images``: clusters that are managed by an image from the beginning; ``backend`` goes into the deployment."""

    def __init__(self, directory, *, images=True, backend="auto", account=True, **options):
        super().__init__(directory, **{"profile": "vc90", **options})
        self.clusters = options.get("clusters", 1)
        self._plain = self.text
        self.text = self._text = self.with_backend(backend)
        self._images, self._account = images, account
        self.login = None

    def with_backend(self, backend) -> str:
        return self._plain.replace("[deployment.dc1]\n", f'[deployment.dc1]\nbackend = "{backend}"\n', 1)

    def open_system_vms(self):
        if self._images:
            self.manage_by_image()
        if not self._account:
            return None
        administrator = PasswordLogin(self.vcenter.ready["username"], self.vcenter.ready["password"])
        self.rest = RestSession(self._endpoint, self.login or administrator)
        return system_vm_client(self.rest, self.client, KEY)

    def manage_by_image(self, *names) -> None:
        for number in range(self.clusters):
            if not names or f"C{number}" in names:
                self.vcenter.scenario.set_image_managed(f"C{number}")

    # -- what is true in the simulated vCenter --------------------------------------------------------------------

    def solutions(self) -> list[SystemVmSolution]:
        return list(self.vcenter.world.of_type(SystemVmSolution))

    def eam_agencies(self) -> list:
        return [each for each in self.agencies() if not isinstance(each, SystemVmSolution)]

    def kept_by(self) -> dict[str, str]:
        """Host -> who keeps its ContrailVM."""
        return {
            each.host.name: "vLCM" if isinstance(each.agency, SystemVmSolution) else "EAM"
            for each in self.vcenter.world.of_type(EsxAgent)
        }

    def machines(self) -> dict:
        """Host -> its running ContrailVM."""
        return {vm.host.name: vm for vm in self.contrailvms() if vm.power_state == "poweredOn"}

    def key(self):
        """Of the one cluster."""
        (found,) = self.manager.notebook.desired
        return found

    def rest_calls(self, name) -> int:
        return self.rest.calls[name]
