"""expand.py DIR: has fail2ban itself expand its filters, to compare ours with.

Reads objects {"spec": "sshd[mode=ddos]", "journal": false}, one a line, and prints for each what the
server would be told of the filter, null where it cannot be expanded; then the same for every jail of DIR, with its name.
"""
import json
import logging
import re
import sys
from configparser import Error as ConfigError

from fail2ban.client.filterreader import FilterReader
from fail2ban.client.jailsreader import JailsReader
from fail2ban.helpers import extractOptions

logging.disable(logging.CRITICAL)
base = sys.argv[1]


def told(commands):
    said = {"prefregex": "", "failregex": [], "ignoreregex": [], "maxlines": 0, "datepattern": [], "journalmatch": [], "usedns": ""}
    for command in commands:
        if command[0] not in ("set", "multi-set"):
            continue
        key, value = command[2], command[3]
        if key in ("addfailregex", "addignoreregex"):
            said[key[3:]] += value if command[0] == "multi-set" else [value]
        elif key == "addjournalmatch":
            said["journalmatch"].append(" ".join(command[3:]))
        elif key == "datepattern":
            said[key] = [line.strip() for line in re.split("\n+", value) if line.strip()]
        elif key in said:
            said[key] = value
    return said


def show(said):
    print(json.dumps(said, ensure_ascii=False))


shared = {}
for line in sys.stdin:
    asked = json.loads(line)
    name, options = extractOptions(asked["spec"])
    reader = FilterReader(name, "jail", options, share_config=shared, basedir=base)
    reader.read()
    reader.applyAutoOptions("systemd" if asked["journal"] else "")
    try:
        reader.getOptions(None)
        expanded = told(reader.convert())
    except ConfigError:
        expanded = None
    show({"name": asked["spec"], "told": expanded, "options": {}})

jails = JailsReader(force_enable=True, basedir=base, share_config={})
jails.read()
jails.getOptions()
mine = ("findtime", "bantime", "maxretry", "ignoreip", "logpath", "backend")
for jail in jails.jails:
    options = {key: str(value) for key, value in jail.options.items() if key in mine}
    show({"name": jail.getName(), "told": told(jail.convert(allow_no_files=True)), "options": options})
