"""Models and subnetworks behind URLs of any file system that fsspec knows, such as s3://, gs:// and https://.

urls           what is a URL, and what of it may be shown
remote_file    some bytes of a file: tried again, of the length that was asked for, of the file that was opened
remote_header  the header of a safetensors file, checked without the file
remote_reader  a safetensors file that is read by ranges
mirror         a folder of small files, with a stub in the place of each safetensors file
"""
