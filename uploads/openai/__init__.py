"""OpenAI's files and uploads at /v1, for clients whose base URL is the portal's /v1.

https://platform.openai.com/docs/api-reference/files, whose terms are used here.
"""
