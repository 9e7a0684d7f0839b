FROM python:3.13-slim
RUN pip install --no-cache-dir SQLAlchemy==2.1.9 asyncpg==0.32.0 greenlet==3.5.6
COPY app.py /app.py
USER 65532:65532
ENTRYPOINT ["python3", "-u", "/app.py"]
