"""Code that the rules beside this file find, and code that they accept."""

import os
import ssl
import subprocess

# ruleid: no-shell-in-python
subprocess.run("ls *", shell=True)
# ruleid: no-shell-in-python
os.system("ls")
# ok: no-shell-in-python
subprocess.run(["ls"])

# ruleid: no-unchecked-tls-in-python
context = ssl._create_unverified_context()
# ruleid: no-unchecked-tls-in-python
context.check_hostname = False
# ok: no-unchecked-tls-in-python
context = ssl.create_default_context()
