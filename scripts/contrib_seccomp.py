#!/usr/bin/env python3
"""Runs a command under a seccomp profile in the form of docker and podman.

usage: contrib_seccomp.py PROFILE COMMAND [ARGUMENT...]   (needs python3-seccomp)
"""

import json
import os
import sys

import seccomp


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules = seccomp.SyscallFilter(seccomp.ERRNO(profile["defaultErrnoRet"]))
    unknown = []
    for group in profile["syscalls"]:
        assert group["action"] == "SCMP_ACT_ALLOW"
        for name in group["names"]:
            try:
                rules.add_rule(seccomp.ALLOW, name)
            except RuntimeError:
                # Newer than this libseccomp, or of another architecture.
                unknown.append(name)
    if len(unknown) > 12:
        sys.exit(f"names that libseccomp does not know: {' '.join(unknown)}")
    rules.load()
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
