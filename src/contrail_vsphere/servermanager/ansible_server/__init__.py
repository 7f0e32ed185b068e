"""The Ansible server on 9003: takes runs, does each in a worker process of its own, tells what happens."""
