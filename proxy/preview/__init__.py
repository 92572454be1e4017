"""The preview: a message as it would look, every call it makes, and its mistakes in plain words.

The page, the terminal command and the tests share `proxy.preview.message`. Nothing here opens a socket: a
template's calls go to the proxy's own app in this process (`proxy.preview.people`).
"""
