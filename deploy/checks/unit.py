"""The sections of a systemd unit. A key that is said again is joined by a space."""


def read(path):
    sections, section = {}, None
    with open(path) as file:
        for line in file:
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            if line[0] == "[":
                section = sections.setdefault(line.strip("[]"), {})
                continue
            key, value = line.split("=", 1)
            section[key] = f"{section[key]} {value}" if section.get(key) else value
    return sections
