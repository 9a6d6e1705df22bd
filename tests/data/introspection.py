"""Compares the shipped D-Bus interface files with what the running daemon says of itself.

usage: introspection.py OBJECT...    (prints differences; exits 1 if there are any)
"""
import glob
import subprocess
import sys
import xml.etree.ElementTree as tree


def members(node):
    """Every member of every own interface, as comparable tuples."""
    found = {}
    for interface in node.iter("interface"):
        name = interface.get("name")
        if not name.startswith("org.interlock."):
            continue
        own = found.setdefault(name, set())
        for member in interface:
            if member.tag not in ("method", "signal", "property"):
                continue
            default = "in" if member.tag == "method" else "out"
            arguments = tuple(
                (argument.get("type"), argument.get("name"), argument.get("direction", default))
                for argument in member.findall("arg")
            )
            emits = "true"
            for annotation in member.findall("annotation"):
                if annotation.get("name") == "org.freedesktop.DBus.Property.EmitsChangedSignal":
                    emits = annotation.get("value")
            own.add((
                member.tag, member.get("name"), arguments, member.get("type"), member.get("access"),
                emits if member.tag == "property" else None,
            ))
    return found


shipped, running = {}, {}
for path in glob.glob("/usr/share/dbus-1/interfaces/org.interlock.*.xml"):
    shipped.update(members(tree.parse(path).getroot()))
for path in sys.argv[1:]:
    text = subprocess.run(
        ["busctl", "introspect", "--xml-interface", "org.interlock.Interlock1", path],
        check=True, capture_output=True, text=True,
    ).stdout
    running.update(members(tree.fromstring(text)))

status = 0
for interface in sorted(shipped.keys() | running.keys()):
    for member in sorted(shipped.get(interface, set()) ^ running.get(interface, set()), key=str):
        where = "shipped" if member in shipped.get(interface, set()) else "running"
        print(f"only {where}: {interface} {member}")
        status = 1
sys.exit(status or not shipped)
