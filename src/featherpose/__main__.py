"""`python -m featherpose VERB`, the same as the console command."""

from featherpose.cli.app import main

if __name__ == "__main__":
    main()
